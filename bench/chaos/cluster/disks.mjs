// A disk for each node: a small one in memory that can be full, where that may be made; else a directory.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import process from "node:process";
import { join } from "node:path";
import { undoAtExit } from "../../support/cleanup.mjs";

/**
 * @returns `{ pathOf(name), canBeFull, close() }`
 */
export function openDisks({ directory, names, lengthMax }) {
  const undos = [];
  let canBeFull = true;
  for (const name of names) {
    const path = join(directory, name);
    mkdirSync(path, { recursive: true });
    if (canBeFull && !mountMemory(path, lengthMax)) canBeFull = false;
    else if (canBeFull) undos.push(undoAtExit(() => unmount(path)));
  }
  return {
    canBeFull,
    pathOf: (name) => join(directory, name),
    close: () => undos.forEach((undo) => undo()),
  };
}

function mountMemory(path, lengthMax) {
  if (process.platform !== "linux" || process.getuid() !== 0) return false;
  const size = `size=${lengthMax}`;
  return spawnSync("mount", ["-t", "tmpfs", "-o", size, "damselfly-chaos", path]).status === 0;
}

/** Lazily: a process that was just killed may hold it for another moment. */
function unmount(path) {
  spawnSync("umount", ["--lazy", path]);
}
