import { link, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { crc32 } from "node:zlib";
import {
  openStorage,
  type Storage,
  StorageError,
  type StoredTask,
  type TaskFacts,
} from "@damselfly/storage";
import { TransportError } from "@damselfly/transport";
import { ChoiceWriter, Choices } from "../engine/choices.ts";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";
import { damage, type Damage, type FileTree, type TreeTask } from "./storage-damage.ts";

/**
 * What lies on disk, damaged in any way. The storage must open (or refuse a format that it does not know, and leave everything as it
 * is); no byte may come out of it but the right ones; a task that was not touched must be as it was; and every task must be whole again
 * after it has been fetched anew.
 */
export const storage: FuzzTarget = {
  name: "storage",
  summary:
    "damaged files on disk: opens, gives right bytes or none, leaves other tasks alone, heals",
  lengthMax: 1_024,
  groupLength: 8,
  isConcurrent: true,
  open: async ({ directory }) => await StorageFuzz.open(directory),
};

const PIECE_LENGTH = 500;

interface ModelTask extends TreeTask {
  readonly facts: TaskFacts;
  readonly bytes: Buffer;
  /** Numbers of the pieces that there are. */
  readonly pieceNumbers: readonly number[];
}

const MODELS: readonly ModelTask[] = [
  createModel("a1", 1_700, [0, 2]),
  createModel("b2", 1_200, [0, 1, 2]),
  createModel("c3", 400, [0]),
  createModel("d4", 0, []),
];

function createModel(prefix: string, length: number, pieceNumbers: readonly number[]): ModelTask {
  const taskId = prefix.repeat(32);
  const content = `content/${taskId.slice(0, 3)}/${taskId}`;
  const bytes = Buffer.from(
    Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7 + taskId.charCodeAt(0)) & 0xff),
  );
  const facts: TaskFacts = {
    taskId,
    url: `http://origin.invalid/${prefix}`,
    contentLength: length,
    pieceLength: PIECE_LENGTH,
    contentVersion: "v1",
    etag: '"1"',
    lastModified: "",
    responseHeader: { "content-type": "text/plain" },
    credentialsDigest: "",
    createdAtMs: 1,
  };
  return { taskId, content, journal: `${content}.journal`, facts, bytes, pieceNumbers };
}

class StorageFuzz implements OpenTarget {
  readonly examples: readonly Uint8Array[] = EXAMPLES;
  readonly dictionary: readonly Uint8Array[] = DICTIONARY;
  readonly #directory: string;
  readonly #files: FileTree;
  #count = 0;

  private constructor(directory: string, files: FileTree) {
    this.#directory = directory;
    this.#files = files;
  }

  /** The files that are damaged: two tasks that are whole and sealed, one that is not, and an empty one. */
  static async open(directory: string): Promise<StorageFuzz> {
    const template = join(directory, "template");
    const opened = await openStorage({ directory: template });
    for (const model of MODELS) {
      const task = await opened.createTask(model.facts);
      for (const number of model.pieceNumbers) await writePiece(task, number, model);
      if (task.complete) await task.seal();
    }
    await opened[Symbol.asyncDispose]();
    return new StorageFuzz(directory, await readTree(join(template, "damselfly")));
  }

  async run(input: Uint8Array): Promise<void> {
    const choices = new Choices(input);
    const directory = join(this.#directory, `s${this.#count++}`);
    const root = join(directory, "damselfly");
    try {
      await writeTree(root, { tree: this.#files, directories: new Set() });
      const traits = choices.byte();
      // An orderly stop: from then on files count as known, unless they change.
      if ((traits & 3) === 0) await openAndClose(directory);
      if ((traits & 12) === 0) await linkOutput(directory);
      const before = await readTree(root);
      const damaged = damage(before, MODELS, choices);
      await writeTree(root, damaged);
      await this.#look(directory, damaged);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #look(directory: string, damaged: Damage): Promise<void> {
    const root = join(directory, "damselfly");
    const sentinel = join(directory, "sentinel");
    await writeFile(sentinel, "mine");
    const format = damaged.tree.get("format") ?? Buffer.alloc(0);
    const isKnown = /^(\0*|damselfly-storage 1\n)$/.test(format.toString("latin1"));
    const opened = await openOrRefuse(directory);
    assertHolds(isKnown === (opened !== undefined), () => `the format is ${format.toString()}`);
    if (opened === undefined) {
      assertHolds(await isAsWritten(root, damaged), "a refused storage has been changed");
      return;
    }
    try {
      await opened.listTasks();
      for (const model of MODELS) await lookAtTask(opened, model, damaged);
      await scrubOnce(opened);
      const ill = MODELS.filter((model) => isTouched(model, damaged));
      for (const model of ill) await heal(opened, model, { damaged, directory });
      const strangers = (await opened.listTasks()).map(({ facts }) => facts.taskId);
      for (const taskId of strangers) assertHolds(/^[0-9a-f]{64}$/.test(taskId), `task ${taskId}`);
    } finally {
      await opened[Symbol.asyncDispose]();
    }
    assertHolds((await readFile(sentinel, "utf8")) === "mine", "something else was touched");
    await using again = await openStorage({ directory });
    for (const model of MODELS) await assertWhole(again, model, damaged);
  }
}

/** Until there is nothing more to be looked at. */
async function scrubOnce(opened: Storage): Promise<void> {
  const over = new AbortController();
  await opened.scrub({
    bytesPerSecond: 2 ** 40,
    signal: over.signal,
    pause: async () => over.abort(),
  });
}

/** @returns undefined if it is refused for its format */
async function openOrRefuse(directory: string): Promise<Storage | undefined> {
  try {
    return await openStorage({ directory });
  } catch (error) {
    if (error instanceof StorageError && error.code === "ERR_STORAGE_VERSION") return undefined;
    throw error;
  }
}

/** What is said to be there must be what the journal says it is; and what nobody touched, what it was. */
async function lookAtTask(opened: Storage, model: ModelTask, damaged: Damage): Promise<void> {
  const { taskId, journal } = model;
  const mayBeGone = isTouched(model, damaged);
  const task = await openTask(opened, taskId, mayBeGone);
  if (task === undefined) {
    assertHolds(mayBeGone, () => `task ${taskId.slice(0, 2)} is gone, and nobody touched it`);
    return;
  }
  const isForged = damaged.forged.has(journal);
  const numbers = [...task.pieces.keys()].toSorted((left, right) => left - right);
  if (!mayBeGone) {
    assertHolds(
      numbers.join() === model.pieceNumbers.join(),
      () => `it has pieces ${numbers.join()}`,
    );
  }
  for (const number of numbers) {
    const isKnown = isForged || model.pieceNumbers.includes(number);
    assertHolds(isKnown, () => `it has piece ${number}, which was never there`);
    const { digest = "", length = 0 } = task.pieces.get(number) ?? {};
    const bytes = await readPiece(opened, taskId, number);
    if (bytes === undefined) {
      assertHolds(mayBeGone, () => `piece ${number} cannot be read, and nobody touched it`);
      continue;
    }
    assertHolds(bytes.byteLength === length, () => `${bytes.byteLength} bytes of ${length}`);
    // Of a forged journal it is only known what it says itself.
    const isRight = isForged
      ? !digest.startsWith("crc32:") || digest === `crc32:${crc32(bytes)}`
      : bytes.equals(pieceOf(model, number));
    assertHolds(isRight, () => `piece ${number} has wrong bytes`);
  }
}

function isTouched({ journal, content }: ModelTask, { changed }: Damage): boolean {
  return changed.has(journal) || changed.has(content);
}

async function openTask(
  opened: Storage,
  taskId: string,
  mayBeGone: boolean,
): Promise<StoredTask | undefined> {
  try {
    return await opened.openTask(taskId);
  } catch (error) {
    if (error instanceof StorageError && mayBeGone) return undefined;
    throw error;
  }
}

/** @returns undefined if it cannot be had */
async function readPiece(
  opened: Storage,
  taskId: string,
  pieceNumber: number,
): Promise<Buffer | undefined> {
  try {
    await using reader = await opened.openPiece({ taskId, pieceNumber });
    const chunks: Buffer[] = [];
    for await (const chunk of reader.content) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  } catch (error) {
    if (error instanceof TransportError) return undefined;
    throw error;
  }
}

/** Fetched anew, it is whole; what a newer version wrote, and what is no file, may only be refused. */
async function heal(
  opened: Storage,
  model: ModelTask,
  { damaged, directory }: { readonly damaged: Damage; readonly directory: string },
): Promise<void> {
  try {
    const task = await opened.createTask(model.facts);
    // A piece may turn out to be damaged only when all are asked for.
    for (let round = 0; round < 3; round++) {
      for (let number = 0; number < task.pieceCount; number++) {
        if (!task.pieces.has(number)) await writePiece(task, number, model);
      }
      try {
        await task.seal();
        break;
      } catch (error) {
        if (!(error instanceof StorageError) || error.code !== "ERR_PIECE_MISSING") throw error;
      }
    }
    await assertContent(task, model, damaged);
    const output = join(directory, `output-${model.taskId.slice(0, 2)}`);
    await task.output(output);
    if (!damaged.forged.has(model.journal)) {
      assertHolds((await readFile(output)).equals(model.bytes), "the output has wrong bytes");
    }
  } catch (error) {
    if (!(error instanceof StorageError) || !mayBeRefused(model, damaged)) throw error;
  }
}

async function assertWhole(opened: Storage, model: ModelTask, damaged: Damage): Promise<void> {
  if (mayBeRefused(model, damaged) || !isTouched(model, damaged)) return;
  const task = await opened.openTask(model.taskId);
  assertHolds(task?.sealed === true, () => `task ${model.taskId.slice(0, 2)} has not healed`);
  await assertContent(task, model, damaged);
}

async function assertContent(task: StoredTask, model: ModelTask, damaged: Damage): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of task.read()) chunks.push(Buffer.from(chunk));
  const isRight = Buffer.concat(chunks).equals(model.bytes);
  // A forged record may vouch for bytes that are not there any more; but then they are those it vouches for.
  assertHolds(isRight || damaged.forged.has(model.journal), "the content has wrong bytes");
}

/** What a forged journal says may be of a later version, or a directory be where a file belongs. */
function mayBeRefused({ journal, content }: ModelTask, { forged, directories }: Damage): boolean {
  return forged.has(journal) || directories.has(journal) || directories.has(content);
}

async function writePiece(task: StoredTask, number: number, model: ModelTask): Promise<void> {
  const bytes = pieceOf(model, number);
  const draft = { number, trafficType: "BACK_TO_SOURCE", parentId: "" } as const;
  await task.writePiece(
    draft,
    (async function* () {
      yield bytes.subarray(0, 100);
      if (bytes.byteLength > 100) yield bytes.subarray(100);
    })(),
  );
}

function pieceOf({ bytes }: ModelTask, number: number): Buffer {
  return bytes.subarray(number * PIECE_LENGTH, (number + 1) * PIECE_LENGTH);
}

async function openAndClose(directory: string): Promise<void> {
  await using opened = await openStorage({ directory });
  for (const { taskId } of MODELS) await opened.openTask(taskId);
}

/** A user's file that shares the content's inode. */
async function linkOutput(directory: string): Promise<void> {
  const { content } = MODELS[1]!;
  await link(join(directory, "damselfly", content), join(directory, "linked"));
}

async function readTree(root: string): Promise<FileTree> {
  const files: FileTree = new Map();
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(root, path), await readFile(path));
  }
  return files;
}

async function writeTree(
  root: string,
  { tree, directories }: Pick<Damage, "tree" | "directories">,
): Promise<void> {
  const present = await readTree(root).catch(() => new Map<string, Buffer>());
  for (const path of present.keys()) {
    if (!tree.has(path) || directories.has(path)) await rm(join(root, path));
  }
  for (const directory of directories) await mkdir(join(root, directory), { recursive: true });
  for (const [path, bytes] of tree) {
    if (directories.has(path) || present.get(path)?.equals(bytes) === true) continue;
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
}

async function isAsWritten(root: string, { tree, directories }: Damage): Promise<boolean> {
  const found = await readTree(root);
  const expected = [...tree].filter(([path]) => !directories.has(path));
  for (const [path, bytes] of expected) if (found.get(path)?.equals(bytes) !== true) return false;
  for (const path of directories) if (!(await stat(join(root, path))).isDirectory()) return false;
  return found.size === expected.length;
}

const DICTIONARY: readonly Uint8Array[] = [
  ['"contentLength":', '"pieceLength":', '"length":', '"offset":', '"number":', '"digest":"'],
  ["crc32:", "sha256:", "md5:", "0", "-1", "1e999", "9007199254740991", "null", "{}", "[]", "}"],
  ["damselfly-storage 1\n", "damselfly-storage 2\n", "DMSLJRNL", ".damselfly-tmp", "../", "\0"],
]
  .flat()
  .map((text) => Buffer.from(text));

/** Numbers are those of `damageOnce`. */
function once(kind: number, task: number, file: number): ChoiceWriter {
  return new ChoiceWriter().byte(1).byte(kind).byte(task).byte(file);
}

const PIECE = { number: 0, offset: 0, length: 500, digest: "crc32:1", trafficType: "LOCAL_PEER" };
const FORGED = JSON.stringify({ piece: { ...PIECE, parentId: "", costMs: 0, createdAtMs: 0 } });

const CURSOR = JSON.stringify({ taskId: "b2", pieceNumber: 1, passStartedAtMs: 1 });

const EXAMPLES: readonly Uint8Array[] = [
  Uint8Array.of(0),
  once(0, 0, 0).u16(40).block(Buffer.from("xyz")).finish(),
  once(0, 1, 1).u16(510).block(Buffer.from("xyz")).finish(),
  once(1, 1, 0).u16(300).finish(),
  once(1, 1, 1).u16(300).finish(),
  once(2, 0, 0).block(Buffer.alloc(40, 7)).finish(),
  once(3, 1, 0).u16(200).finish(),
  once(4, 1, 0).byte(1).byte(2).block(Buffer.from(FORGED)).finish(),
  once(4, 0, 0).byte(0).byte(0).u16(60).block(Buffer.from("9")).finish(),
  once(4, 0, 0).byte(0).byte(4).byte(2).finish(),
  once(7, 1, 0).finish(),
  once(7, 1, 1).finish(),
  once(7, 3, 1).finish(),
  once(8, 1, 0).byte(2).finish(),
  once(9, 0, 0).block(Buffer.from("damselfly-storage 2\n")).finish(),
  once(9, 0, 0).block(Buffer.alloc(20)).finish(),
  once(10, 0, 0).byte(0).block(Buffer.from("/nowhere/.f.note.damselfly-tmp")).finish(),
  once(11, 1, 0).byte(0).byte(0).byte(0).finish(),
  once(11, 1, 0).byte(6).byte(0).byte(1).block(Buffer.from("")).finish(),
  once(12, 0, 0).block(Buffer.from(CURSOR)).finish(),
  once(11, 1, 0).byte(1).byte(1).byte(1).block(Buffer.from("x")).finish(),
];
