import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { openStorage, type StorageOptions } from "../src/index.ts";
import type {
  Logger,
  PieceDraft,
  PieceRecord,
  Storage,
  StoredTask,
  TaskFacts,
} from "../src/index.ts";

export const TASK_ID = "ab".repeat(32);
export const PIECE_LENGTH = 1000;

export function factsOf(content: Uint8Array, changes: Partial<TaskFacts> = {}): TaskFacts {
  return {
    taskId: TASK_ID,
    url: "http://origin.invalid/file?token=secret",
    contentLength: content.byteLength,
    pieceLength: PIECE_LENGTH,
    contentVersion: "v1",
    etag: '"1"',
    lastModified: "",
    responseHeader: { "content-type": "text/plain" },
    credentialsDigest: "",
    createdAtMs: 1,
    ...changes,
  };
}

/** Bytes that differ from place to place, so that a piece at the wrong offset shows. */
export function contentOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7) & 0xff);
}

export const DRAFT: Omit<PieceDraft, "number"> = { trafficType: "BACK_TO_SOURCE", parentId: "" };

export async function* inChunks(bytes: Uint8Array, length = 300): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += length) {
    yield await Promise.resolve(bytes.subarray(start, start + length));
  }
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const copies: Uint8Array[] = [];
  for await (const chunk of chunks) copies.push(Uint8Array.from(chunk));
  return Uint8Array.from(Buffer.concat(copies));
}

export function pieceOf(task: StoredTask, number: number, content: Uint8Array): Uint8Array {
  const { offset, length } = task.bounds(number);
  return content.subarray(offset, offset + length);
}

export async function writePieceOf(
  task: StoredTask,
  number: number,
  content: Uint8Array,
): Promise<PieceRecord> {
  return await task.writePiece({ ...DRAFT, number }, inChunks(pieceOf(task, number, content)));
}

/** Fetches whatever is missing. */
export async function fill(task: StoredTask, content: Uint8Array): Promise<void> {
  for (let number = 0; number < task.pieceCount; number++)
    await writePieceOf(task, number, content);
}

/** Holds streams back after their first byte until it is opened. */
export class Gate {
  readonly #promise: Promise<void>;
  #open: () => void = () => undefined;

  constructor() {
    this.#promise = new Promise((resolve) => (this.#open = resolve));
  }

  open(): void {
    this.#open();
  }

  get opened(): Promise<void> {
    return this.#promise;
  }

  async *stream(bytes: Uint8Array, error?: Error): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 1);
    await this.#promise;
    if (error !== undefined) throw error;
    yield bytes.subarray(1);
  }
}

/** A directory with a storage in it, which can be closed and opened again. */
export class StorageFixture {
  readonly directory: string;
  readonly infos: string[] = [];
  readonly warnings: string[] = [];
  readonly #logger: Logger = {
    info: (_fields, message) => void this.infos.push(message),
    warn: (_fields, message) => void this.warnings.push(message),
  };
  #storage: Storage | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  get storage(): Storage {
    if (this.#storage === undefined) throw new Error("the storage is closed");
    return this.#storage;
  }

  /** A path outside the storage's own directory. */
  path(name: string): string {
    return join(this.directory, name);
  }

  contentPath(taskId: string = TASK_ID): string {
    return join(this.directory, "damselfly", "content", taskId.slice(0, 3), taskId);
  }

  journalPath(taskId: string = TASK_ID): string {
    return `${this.contentPath(taskId)}.journal`;
  }

  async open(options: Partial<StorageOptions> = {}): Promise<Storage> {
    this.#storage = await openStorage({
      directory: this.directory,
      logger: this.#logger,
      // Small, so that a piece takes several.
      limits: { readLength: 256, writeLength: 256 },
      ...options,
    });
    return this.#storage;
  }

  async close(): Promise<void> {
    await this.#storage?.[Symbol.asyncDispose]();
    this.#storage = undefined;
  }

  async reopen(options: Partial<StorageOptions> = {}): Promise<Storage> {
    await this.close();
    return await this.open(options);
  }

  async remove(): Promise<void> {
    await this.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

export async function createFixture(): Promise<StorageFixture> {
  return new StorageFixture(await mkdtemp(join(tmpdir(), "damselfly-storage-")));
}

/** Flips the bits of one byte, and lets the clock that stamps files move on so that it shows. */
export async function overwrite(path: string, position: number): Promise<void> {
  const file = await open(path, "r+");
  const before = await file.stat({ bigint: true });
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  byte[0] = ~(byte[0] ?? 0) & 0xff;
  do await file.write(byte, 0, 1, position);
  while ((await file.stat({ bigint: true })).mtimeNs === before.mtimeNs);
  await file.close();
}
