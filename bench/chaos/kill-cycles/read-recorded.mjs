// Which pieces of a task a node has recorded, by its journal on disk: what it may not fetch again.
import { readFileSync } from "node:fs";
import { decodeJournal } from "../../../packages/storage/dist/journal-format.js";
import { Paths } from "../../../packages/storage/dist/paths.js";

/** @returns pieces `{ number, offset, length }`; none: there is no journal */
export function readRecorded(storage, taskId) {
  try {
    const { state } = decodeJournal(readFileSync(new Paths(storage).task(taskId).journal));
    return [...state.pieces.values()].map(({ number, offset, length }) => ({
      number,
      offset,
      length,
    }));
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}
