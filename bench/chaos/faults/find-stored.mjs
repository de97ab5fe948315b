// What a node has on its disk, found as an intruder finds it: by looking.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { decodeJournal } from "../../../packages/storage/dist/journal-format.js";

/** Paths of content files or journals, sorted by name, so that a fraction picks the same one of the same ones. */
export function findStored(storage, kind) {
  const root = join(storage, "damselfly", "content");
  const pattern = kind === "journal" ? /^[0-9a-f]{64}\.journal$/ : /^[0-9a-f]{64}$/;
  return listIfThere(root)
    .flatMap((prefix) => listIfThere(join(root, prefix)).map((name) => join(root, prefix, name)))
    .filter((path) => pattern.test(path.slice(path.lastIndexOf("/") + 1)) && lengthOf(path) > 0)
    .toSorted();
}

/** Whether the daemon that runs has written all that it will write of a content: what is done to it at that very time no stat can show. */
export function isSealed(path) {
  try {
    return decodeJournal(readFileSync(`${path}.journal`)).state.sealed;
  } catch (error) {
    if (error.code === "ENOENT") return false;
    throw error;
  }
}

/** The one that a fraction stands for; undefined: there is none. */
export function pickOne(list, fraction) {
  return list[Math.floor(fraction * list.length)];
}

function listIfThere(path) {
  try {
    return readdirSync(path);
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

function lengthOf(path) {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
