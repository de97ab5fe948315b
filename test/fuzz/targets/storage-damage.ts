import { crc32 } from "node:zlib";
import type { Choices } from "../engine/choices.ts";

/** Files by their paths below the storage's directory. */
export type FileTree = Map<string, Buffer>;

/** Whose files there are in the tree. */
export interface TreeTask {
  readonly taskId: string;
  readonly content: string;
  readonly journal: string;
}

/** What has been done to a tree, so that it is known what must be left of it. */
export interface Damage {
  readonly tree: FileTree;
  /** Directories in the place of files. */
  readonly directories: Set<string>;
  /** Paths of files that are not as they were. */
  readonly changed: Set<string>;
  /** Journals with records that are whole, but say something else. */
  readonly forged: Set<string>;
}

const DAMAGE_COUNT_MAX = 5;

/** Does to the files what the choices say: anything that a disk, a crash or somebody with an editor could do. */
export function damage(files: FileTree, tasks: readonly TreeTask[], choices: Choices): Damage {
  const state: Damage = {
    tree: new Map([...files].map(([path, bytes]) => [path, Buffer.from(bytes)])),
    directories: new Set(),
    changed: new Set(),
    forged: new Set(),
  };
  for (let count = 0; count < DAMAGE_COUNT_MAX && !choices.isOver; count++) {
    damageOnce(state, tasks, choices);
  }
  return state;
}

function damageOnce(state: Damage, tasks: readonly TreeTask[], choices: Choices): void {
  const kind = choices.below(13);
  const task = choices.pick(tasks);
  const path = choices.below(2) === 0 ? task.journal : task.content;
  const bytes = state.tree.get(path) ?? Buffer.alloc(0);
  switch (kind) {
    case 0: {
      const at = choices.below(bytes.byteLength + 1);
      put(state, path, overwritten(bytes, at, choices.block()));
      break;
    }
    case 1:
      put(state, path, bytes.subarray(0, choices.below(bytes.byteLength + 1)));
      break;
    case 2:
      put(state, path, Buffer.concat([bytes, choices.block()]));
      break;
    case 3:
      put(state, path, bytes.fill(0, choices.below(bytes.byteLength + 1)));
      break;
    case 4:
    case 5:
    case 6:
      forgeRecord(state, task.journal, choices);
      break;
    case 7:
      state.tree.delete(path);
      state.changed.add(path);
      break;
    case 8:
      put(state, path, state.tree.get(choices.pick(tasks).journal) ?? Buffer.alloc(0));
      break;
    case 9:
      put(state, "format", Buffer.from(choices.block()));
      break;
    case 10:
      put(
        state,
        `outputs/${choices.pick(["note", "x", "0123abcd"])}`,
        Buffer.from(choices.block()),
      );
      break;
    case 12:
      put(state, "scrub", Buffer.from(choices.block()));
      break;
    default:
      addStranger(state, path, task, choices);
  }
}

function put(state: Damage, path: string, bytes: Buffer): void {
  state.tree.set(path, Buffer.from(bytes)); // not another file's, which may be changed next
  state.changed.add(path);
}

function overwritten(bytes: Buffer, at: number, part: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at + part.byteLength)]);
}

/** Names that mean something, or nothing, where nobody expects them. */
function addStranger(state: Damage, path: string, task: TreeTask, choices: Choices): void {
  const suffix = choices.pick([
    ".new",
    ".journal.new",
    ".journal.damaged-1",
    ".x",
    "",
    ".journal",
    ".pinned",
  ]);
  const name = choices.pick([
    `${task.content}${suffix}`,
    `content/abc/${"abc".padEnd(64, "0")}${suffix}`,
    `content/stray${suffix}`,
    `spool/stray${suffix}`,
  ]);
  if (choices.below(3) === 0) {
    state.tree.delete(path);
    state.directories.add(path);
    state.changed.add(path);
  } else {
    put(state, name, Buffer.from(choices.block()));
  }
}

const HEADER_LENGTH = 16;
const RECORD_HEADER_LENGTH = 9;

/** One record of a journal says something else, or is of another type, with a checksum to match. */
function forgeRecord(state: Damage, path: string, choices: Choices): void {
  const journal = state.tree.get(path) ?? Buffer.alloc(0);
  const records = cutRecords(journal);
  const index = choices.below(records.length);
  const record = records[index];
  const how = choices.below(5);
  if (how === 4) {
    // The header instead: another version.
    if (journal.byteLength < HEADER_LENGTH) return;
    journal.writeUInt32BE(choices.below(4), 8);
    journal.writeUInt32BE(crc32(journal.subarray(0, 12)), 12);
    state.forged.add(path);
    put(state, path, journal);
    return;
  }
  if (record === undefined) return;
  const payload = record.subarray(RECORD_HEADER_LENGTH);
  const type = how === 1 ? choices.byte() : (record[8] ?? 0);
  const at = choices.below(payload.byteLength + 1);
  const forged =
    how === 2 ? Buffer.from(choices.block()) : overwritten(payload, at, choices.block());
  const others = how === 3 ? [record] : [];
  records.splice(index, 1, ...others, encodeRecord(type, forged));
  state.forged.add(path);
  put(state, path, Buffer.concat([journal.subarray(0, HEADER_LENGTH), ...records]));
}

/** As `journal-format.ts` has them: length, CRC-32 of what follows, type, payload. */
function cutRecords(journal: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = HEADER_LENGTH; at + RECORD_HEADER_LENGTH <= journal.byteLength;) {
    const end = at + RECORD_HEADER_LENGTH + journal.readUInt32BE(at);
    if (end > journal.byteLength) break;
    records.push(journal.subarray(at, end));
    at = end;
  }
  return records;
}

function encodeRecord(type: number, payload: Buffer): Buffer {
  const record = Buffer.alloc(RECORD_HEADER_LENGTH + payload.byteLength);
  record.writeUInt32BE(payload.byteLength, 0);
  record.writeUInt8(type, 8);
  payload.copy(record, RECORD_HEADER_LENGTH);
  record.writeUInt32BE(crc32(record.subarray(8)), 4);
  return record;
}
