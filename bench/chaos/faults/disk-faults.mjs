// Faults of disks, and of what is on them.
import { statSync } from "node:fs";
import { open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { annotate } from "../cluster/chaos-process.mjs";
import { damageFile } from "./damage-file.mjs";
import { findStored, isSealed, pickOne } from "./find-stored.mjs";
import { NOT_HERE } from "./network-faults.mjs";
import { killAlone } from "./process-faults.mjs";

const FILL_LENGTH = 1 << 20;

export const diskFaults = {
  async "full-disk"({ id, target, freeBytes, durationMs }, { disks, clock }) {
    if (!disks.canBeFull) return NOT_HERE;
    const path = join(disks.pathOf(target), `filler-${id}`);
    const length = await fill(path, freeBytes);
    await clock.pass(durationMs);
    await rm(path);
    return `${length} bytes put there`;
  },
  "corrupt-content": (fault, context) => corrupt(fault, context, "content"),
  "corrupt-journal": (fault, context) => corrupt(fault, context, "journal"),
  async "edit-output"(fault, { keptOutputs }) {
    const kept = keptOutputs.filter(({ node, isEdited }) => node === fault.target && !isEdited);
    const output = pickOne(kept, fault.pick);
    if (output === undefined) return "there is none at this moment";
    await output.edit((path) => damageFile(path, fault));
    return output.id;
  },
};

/** Writes until no more than `freeBytes` are free. Others write and free meanwhile: it is as full as can be had. */
async function fill(path, freeBytes) {
  const file = await open(path, "w");
  const block = Buffer.alloc(FILL_LENGTH, "full ");
  let length = 0;
  try {
    for (;;) {
      const { bavail, bsize } = await statfs(path);
      const rest = bavail * bsize - freeBytes;
      if (rest <= 0) return length;
      const { bytesWritten } = await file.write(block, 0, Math.min(rest, FILL_LENGTH));
      length += bytesWritten;
    }
  } catch (error) {
    if (error.code !== "ENOSPC") throw error;
    return length;
  } finally {
    await file.close();
  }
}

async function corrupt(fault, context, kind) {
  const { target, isDown, durationMs } = fault;
  const server = context.serverOf(target);
  if (isDown) await killAlone(server, context);
  const stored = findStored(context.storageOf(target), kind);
  const isDamageable = (each) =>
    kind === "journal" || ((isDown || isSealed(each)) && isNobodysResult(each, context));
  const path = pickOne(stored.filter(isDamageable), fault.pick);
  const done = path === undefined ? "nothing is there" : await tryDamage(path, fault);
  if (path !== undefined) await noteOutputs(path, context);
  const words = `${done}${path === undefined ? "" : ` in ${path.slice(path.lastIndexOf("/") + 1)}`}`;
  annotate(server.log, `${kind} of ${target}: ${words}`);
  if (isDown) {
    await context.clock.pass(durationMs);
    await server.start();
  }
  return words;
}

/** Whether it is no other name of an output that nobody has looked at yet: what is done to it would be done to that. */
function isNobodysResult(path, { keptOutputs }) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || stat.nlink === 1) return true;
  return keptOutputs.some(
    (output) => statSync(output.path, { throwIfNoEntry: false })?.ino === stat.ino,
  );
}

/** What is done to content is done to an output that is the same file: its user cannot tell it from an edit of his own. */
async function noteOutputs(path, { keptOutputs }) {
  const ino = statSync(path, { throwIfNoEntry: false })?.ino;
  for (const output of keptOutputs) {
    const isSame = statSync(output.path, { throwIfNoEntry: false })?.ino === ino;
    if (ino !== undefined && isSame && output.isEdited) await output.edit(async () => {});
  }
}

/** A daemon that runs may remove a file, or put another in its place, at any moment. */
async function tryDamage(path, fault) {
  try {
    return await damageFile(path, fault);
  } catch (error) {
    if (error.code === "ENOENT") return "it is gone";
    if (error.code === "ENOSPC") return "there is no room for it";
    throw error;
  }
}
