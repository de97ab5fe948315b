import { expect } from "vitest";

import {
  openStorage,
  StorageError,
  type Spool,
  type Storage,
  type StoredTask,
  type TaskFacts,
} from "../src/index.ts";
import { collect, contentOf, factsOf, inChunks, PIECE_LENGTH, writePieceOf } from "./fixture.ts";
import { MemoryDisk, type Step } from "./memory-disk.ts";
import type { PowerLoss } from "./memory-inode.ts";

/** What the storage has said is done, and so must be there later. */
export interface Ledger {
  /** By the name of the task, the pieces that were recorded. */
  readonly recorded: ReadonlyMap<string, ReadonlySet<number>>;
  readonly sealed: ReadonlySet<string>;
  /** By name, of which task. */
  readonly outputs: ReadonlyMap<string, string>;
  /** Tasks whose deletion has begun, or that begin anew: nothing is promised of them. */
  readonly leaving: ReadonlySet<string>;
  readonly deleted: ReadonlySet<string>;
  /** Pieces whose bytes are not theirs, for all that stat shows: they are still believed, but must not be served. */
  readonly rotten: ReadonlySet<string>;
  readonly pinned: ReadonlySet<string>;
  /** Of tasks that are not of the first version. */
  readonly versions: ReadonlyMap<string, string>;
}

/** A step that was about to be done, and how everything was at that moment. */
export interface Moment {
  readonly number: number;
  readonly step: Step;
  readonly disk: MemoryDisk;
  readonly ledger: Ledger;
}

export function describeMoment({ number, step }: Moment): string {
  return `step ${number}: ${step.name} ${step.path}`;
}

/** Does something with a storage, and keeps the ledger. */
export class Actor {
  readonly disk: MemoryDisk;
  readonly #recorded = new Map<string, Set<number>>();
  readonly #sealed = new Set<string>();
  readonly #outputs = new Map<string, string>();
  readonly #leaving = new Set<string>();
  readonly #deleted = new Set<string>();
  readonly #rotten = new Set<string>();
  readonly #pinned = new Set<string>();
  readonly #versions = new Map<string, string>();
  #storage: Storage | undefined;

  constructor(disk: MemoryDisk, ledger?: Ledger) {
    this.disk = disk;
    for (const [name, numbers] of ledger?.recorded ?? [])
      this.#recorded.set(name, new Set(numbers));
    for (const name of ledger?.sealed ?? []) this.#sealed.add(name);
    for (const [output, name] of ledger?.outputs ?? []) this.#outputs.set(output, name);
    for (const name of ledger?.pinned ?? []) this.#pinned.add(name);
    for (const name of ledger?.leaving ?? []) this.#leaving.add(name);
    for (const [name, version] of ledger?.versions ?? []) this.#versions.set(name, version);
  }

  get storage(): Storage {
    if (this.#storage === undefined)
      throw new StorageError("ERR_TASK_GONE", "Cannot use the storage: it is closed");
    return this.#storage;
  }

  get ledger(): Ledger {
    return {
      recorded: new Map([...this.#recorded].map(([name, numbers]) => [name, new Set(numbers)])),
      sealed: new Set(this.#sealed),
      outputs: new Map(this.#outputs),
      leaving: new Set(this.#leaving),
      deleted: new Set(this.#deleted),
      rotten: new Set(this.#rotten),
      pinned: new Set(this.#pinned),
      versions: new Map(this.#versions),
    };
  }

  async open(): Promise<void> {
    this.#storage = await openOn(this.disk);
  }

  /** The last things that this process does are under way. */
  isClosing = false;

  /** Closed it is whatever is said about it. */
  async close(): Promise<void> {
    const { storage } = this;
    this.#storage = undefined;
    this.isClosing = true;
    await storage[Symbol.asyncDispose]();
    this.isClosing = false;
  }

  async reopenIfClosed(): Promise<void> {
    if (this.#storage === undefined) await this.open();
  }

  async create(name: string): Promise<StoredTask> {
    this.#deleted.delete(name);
    const contentVersion = this.#versions.get(name) ?? "v1";
    const task = await this.storage.createTask(factsFor(name, { contentVersion }));
    this.#leaving.delete(name);
    return task;
  }

  async task(name: string): Promise<StoredTask> {
    const task = await this.storage.openTask(factsFor(name).taskId);
    if (task === undefined) throw new StorageError("ERR_TASK_GONE", `Cannot find task ${name}`);
    return task;
  }

  async write(name: string, number: number): Promise<void> {
    await writePieceOf(await this.task(name), number, contentFor(name));
    const recorded = this.#recorded.get(name) ?? new Set();
    this.#recorded.set(name, recorded.add(number));
  }

  async seal(name: string): Promise<void> {
    await (await this.task(name)).seal();
    this.#sealed.add(name);
  }

  async output(
    name: string,
    output: string,
    options: { readonly overwrite?: boolean } = {},
  ): Promise<void> {
    await (await this.task(name)).output(outputPathOf(output), options);
    this.#outputs.set(output, name);
  }

  /** The task with all its pieces, sealed. */
  async fetch(name: string): Promise<void> {
    const task = await this.create(name);
    for (let number = 0; number < task.pieceCount; number++) await this.write(name, number);
    await this.seal(name);
  }

  /** A piece of it is not what it was, in a file that a user has: nothing of the file is promised, all of the other pieces is. */
  edit(name: string, output: string, position: number): void {
    this.disk.patch(outputPathOf(output), (bytes) => bytes.fill(0xee, position, position + 9));
    // If the bytes reach the disk before the times, and the power fails in between, stat shows nothing: DESIGN.md says so.
    this.disk.sync(outputPathOf(output));
    this.#outputs.delete(output);
    this.#withdraw(name, Math.floor(position / PIECE_LENGTH));
  }

  /** A piece is not what it was, and stat does not show it; somebody asks for it. */
  async rot(name: string, number: number): Promise<void> {
    const { taskId } = factsFor(name);
    this.#rotten.add(`${name} ${number}`);
    this.disk.rot(contentPathOf(name), number * PIECE_LENGTH);
    this.#withdraw(name, number);
    const reader = await this.storage.openPiece({ taskId, pieceNumber: number });
    await expect(collect(reader.content)).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
    this.#rotten.delete(`${name} ${number}`);
  }

  forgetPiecesBut(name: string, numbers: readonly number[]): void {
    this.#sealed.delete(name);
    this.#recorded.set(name, new Set(numbers));
  }

  async serve(name: string, number: number): Promise<void> {
    const { taskId } = factsFor(name);
    const reader = await this.storage.openPiece({ taskId, pieceNumber: number });
    await collect(reader.content);
  }

  async replace(name: string): Promise<void> {
    this.#leave(name);
    await this.storage.createTask(factsFor(name, { contentVersion: "v2" }));
    this.#versions.set(name, "v2");
    this.#leaving.delete(name);
  }

  async adopt(name: string, header: string): Promise<void> {
    await this.storage.createTask(factsFor(name, { responseHeader: { "x-header": header } }));
  }

  async spool(name: string): Promise<Spool> {
    return await this.storage.spool(inChunks(contentFor(name)));
  }

  #withdraw(name: string, number: number): void {
    this.#sealed.delete(name);
    this.#recorded.get(name)?.delete(number);
  }

  async remove(name: string): Promise<void> {
    this.#leave(name);
    this.#pinned.delete(name);
    await this.storage.deleteTask(factsFor(name).taskId);
    this.#deleted.add(name);
  }

  async evict(name: string): Promise<void> {
    this.#leave(name);
    expect(await this.storage.evictTask(factsFor(name).taskId)).toBe("evicted");
    this.#deleted.add(name);
  }

  async pin(name: string, pinned: boolean): Promise<void> {
    if (!pinned) this.#pinned.delete(name);
    const isHere = await this.storage.pinTask(factsFor(name).taskId, pinned);
    if (pinned && isHere) this.#pinned.add(name);
  }

  #leave(name: string): void {
    this.#leaving.add(name);
    this.#recorded.delete(name);
    this.#sealed.delete(name);
  }
}

/** Runs it once, and keeps how things were before each operation that changes anything. */
export async function recordMoments(
  act: (actor: Actor) => Promise<void>,
  options: {
    /** The disk to begin with; default is an empty one. */
    readonly from?: Moment;
    /** Bytes that one write takes at most, so that a kill may tear what is longer. */
    readonly writeLengthMax?: number;
  } = {},
): Promise<Moment[]> {
  const { from, writeLengthMax = 400 } = options;
  const disk = from?.disk.afterKill() ?? (await emptyDisk(writeLengthMax));
  const actor = new Actor(disk, from?.ledger);
  const moments: Moment[] = [];
  disk.onStep = (step) => {
    if (step.changes) {
      const number = moments.length + 1;
      moments.push({ number, step, disk: disk.afterKill(), ledger: actor.ledger });
    }
    return undefined;
  };
  await act(actor);
  return moments;
}

export async function emptyDisk(writeLengthMax: number = Infinity): Promise<MemoryDisk> {
  const disk = new MemoryDisk({ writeLengthMax });
  await disk.mkdir(DIRECTORY);
  await disk.mkdir(OUTPUTS);
  await disk.syncDirectory("/");
  return disk;
}

/** The next process finds all that was recorded, nothing that is wrong, nothing half-made, and goes on. */
export async function inspectAfterKill({ disk, ledger }: Moment): Promise<void> {
  await assertGood(disk.afterKill(), ledger);
}

/** The same of a disk that nobody has open. */
export async function assertGood(next: MemoryDisk, ledger: Ledger): Promise<void> {
  await inspect(next, ledger, (task, name) => {
    for (const number of ledger.recorded.get(name) ?? [])
      expect(task?.pieces.has(number), `piece ${number} of ${name}`).toBe(true);
    if (ledger.deleted.has(name)) expect(task, `${name} is deleted`).toBeUndefined();
  });
  assertOutputsComplete(next, ledger);
}

/** Likewise, but for pieces of tasks that were not sealed. */
export async function inspectAfterPowerLoss({ disk, ledger, number }: Moment): Promise<void> {
  await assertGoodAfter(lossesFor(number), disk, ledger);
}

/** The same of a disk on which nothing is done any more: of the ways to lose what was not synced the plain ones. */
export async function assertGoodAfterPowerLoss(disk: MemoryDisk, ledger: Ledger): Promise<void> {
  const plain = [...lossesFor(0)].filter((_, index) => [0, 6, 14].includes(index));
  await assertGoodAfter(plain, disk, ledger);
}

async function assertGoodAfter(
  losses: Iterable<[string, PowerLoss]>,
  disk: MemoryDisk,
  ledger: Ledger,
): Promise<void> {
  const seen = new Set<string>();
  for (const [description, loss] of losses) {
    const left = disk.afterPowerLoss(loss);
    const summary = left.summary();
    if (seen.has(summary)) continue;
    seen.add(summary);
    try {
      await inspect(left, ledger, (task, name) => {
        if (ledger.sealed.has(name)) expect(task?.complete, `${name} is whole`).toBe(true);
      });
    } catch (error) {
      throw new Error(`power loss ${description}`, { cause: error });
    }
  }
}

async function inspect(
  disk: MemoryDisk,
  ledger: Ledger,
  assertKept: (task: StoredTask | undefined, name: string) => void,
): Promise<void> {
  const storage = await openOn(disk);
  assertNothingHalfMade(disk);
  await storage.listTasks();
  const usage = await storage.usage();
  for (const name of NAMES) {
    const { taskId } = factsFor(name);
    const task = await storage.openTask(taskId);
    if (ledger.pinned.has(name) && ledger.sealed.has(name))
      expect(usage.tasks).toContainEqual(expect.objectContaining({ taskId, pinned: true }));
    if (!ledger.leaving.has(name) || ledger.deleted.has(name)) assertKept(task, name);
    if (task !== undefined) await assertRight(storage, task, { name, rotten: ledger.rotten });
  }
  await storage[Symbol.asyncDispose]();
}

/** Every piece that is believed is right, on whichever way it leaves. */
async function assertRight(
  storage: Storage,
  task: StoredTask,
  { name, rotten }: { readonly name: string; readonly rotten: ReadonlySet<string> },
): Promise<void> {
  const content = contentFor(name);
  for (const { number, offset, length } of task.pieces.values()) {
    const expected = content.subarray(offset, offset + length);
    const what = `piece ${number} of ${name}`;
    const request = { taskId: task.facts.taskId, pieceNumber: number };
    const reader = await storage.openPiece(request);
    if (rotten.has(`${name} ${number}`)) {
      await expect(collect(reader.content), what).rejects.toThrow("no longer matches");
      continue;
    }
    expect(Buffer.compare(await collect(task.read({ offset, length })), expected), what).toBe(0);
    expect(Buffer.compare(await collect(reader.content), expected), what).toBe(0);
  }
}

/** Under a name that a user has asked for there is all of it or nothing; what was promised is there. */
function assertOutputsComplete(disk: MemoryDisk, { outputs }: Ledger): void {
  const found = new Map([...disk.list()].filter(([path]) => path.startsWith(`${OUTPUTS}/`)));
  for (const [path, bytes] of found) {
    expect(path).not.toContain("damselfly-tmp");
    const name = [...outputs].find(([output]) => outputPathOf(output) === path)?.[1];
    if (name !== undefined) expect(bytes.equals(contentFor(name)), path).toBe(true);
  }
  for (const output of outputs.keys()) expect([...found.keys()]).toContain(outputPathOf(output));
}

function assertNothingHalfMade(disk: MemoryDisk): void {
  for (const path of disk.list().keys()) {
    if (path.startsWith(`${OUTPUTS}/`)) continue;
    expect(path).toMatch(NAMES_AFTER_START);
  }
}

function* lossesFor(seed: number): Generator<[string, PowerLoss]> {
  for (let bits = 0; bits < 16; bits++) {
    yield [
      `keeping ${bits.toString(2)}`,
      {
        keepsPage: () => (bits & 1) !== 0,
        keepsLength: () => (bits & 2) !== 0,
        keepsTimes: () => (bits & 4) !== 0,
        keepsName: () => (bits & 8) !== 0,
      },
    ];
  }
  // Of each file all or nothing, though stat shows what it showed: the first ones that have anything to lose, in every way.
  for (let mask = 1; mask < 31; mask++) {
    const order: number[] = [];
    const keepsPage = (file: number): boolean => {
      if (!order.includes(file)) order.push(file);
      return ((mask >> (order.indexOf(file) % 5)) & 1) === 1;
    };
    const always = (): boolean => true;
    const rest = { keepsLength: always, keepsTimes: always, keepsName: always };
    yield [`keeping files ${mask.toString(2)}`, { keepsPage, ...rest }];
  }
  for (let run = 0; run < 8; run++) {
    const chance = dice(seed * 100 + run);
    yield [
      `by chance ${seed * 100 + run}`,
      { keepsPage: chance, keepsLength: chance, keepsTimes: chance, keepsName: chance },
    ];
  }
}

/** The same throws for the same seed. */
function dice(seed: number): () => boolean {
  let state = seed + 1;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return ((state >>> 16) & 1) === 1;
  };
}

function openOn(disk: MemoryDisk): Promise<Storage> {
  return openStorage({
    directory: DIRECTORY,
    fileSystem: disk,
    limits: { readLength: 256, writeLength: 256 },
  });
}

/** Both the storage and its user. */
export function contentPathOf(name: string): string {
  const { taskId } = factsFor(name);
  return `${DIRECTORY}/damselfly/content/${taskId.slice(0, 3)}/${taskId}`;
}

export function journalPathOf(name: string): string {
  return `${contentPathOf(name)}.journal`;
}

export function outputPathOf(output: string): string {
  return `${OUTPUTS}/${output}`;
}

const NAMES_AFTER_START =
  /^\/data\/damselfly\/(format|content\/[0-9a-f]{3}\/[0-9a-f]{64}(\.pinned|\.journal(\.damaged-\d+)?)?)$/;
const NAMES = ["a", "b"];
const DIRECTORY = "/data";
const OUTPUTS = "/out";

export function factsFor(name: string, changes: Partial<TaskFacts> = {}): TaskFacts {
  return factsOf(contentFor(name), { taskId: name.repeat(64), ...changes });
}

export function contentFor(name: string): Uint8Array {
  const length = 2 * PIECE_LENGTH + 17 + (name.codePointAt(0) ?? 0);
  return contentOf(length).map((byte) => byte ^ (name.codePointAt(0) ?? 0));
}
