import type { Coverage } from "./coverage.ts";
import type { FlightRecord } from "./flight-record.ts";
import type { FuzzTarget, OpenTarget } from "./fuzz-target.ts";
import { minimise } from "./minimise.ts";
import { mutate } from "./mutate.ts";
import { Random } from "./random.ts";
import type { FailureKind, FailureReport, WorkerOrder, WorkerReport } from "./worker-protocol.ts";

const DEFAULT_CPU_MS_MAX = 2_000;
/** Time that a group of inputs may take, in milliseconds; nothing here waits for anything for so long. */
const PATIENCE_MS = 60_000;
/** Inputs kept because they reached new code. */
const KEPT_COUNT_MAX = 2_000;
/** How often an input is run again to make it smaller. */
const MINIMISE_ATTEMPTS_MAX = 500;
const MINIMISE_SECONDS_MAX = 60;
/** Failures of one kind and message that are told. */
const TOLD_COUNT_MAX = 3;
/** Failures after which there is nothing to be gained from going on. */
const FAILURE_COUNT_MAX = 50;
const REPORT_MS = 500;
/** Groups between two looks at the coverage, at most. */
const UNSEEN_GROUP_COUNT_MAX = 16;
/** What finding out which inputs reached new code may take: so long at first, and this share of the time. */
const LEARNING_MS_MIN = 5_000;
const LEARNING_SHARE_MAX = 0.3;
/** Looks at the memory in one run, at most. */
const MEMORY_SAMPLE_COUNT = 24;

export interface FuzzLoopInit {
  readonly target: FuzzTarget;
  readonly order: WorkerOrder;
  readonly corpus: readonly Uint8Array[];
  readonly record: FlightRecord;
  readonly coverage: Coverage | undefined;
  /** A new empty directory for each time the target is opened. */
  readonly createDirectory: () => Promise<string>;
  readonly report: (report: WorkerReport) => void;
  /** Ends the process: what hangs in it cannot be waited for, and would disturb what comes after it. Never resolves. */
  readonly giveUp: () => Promise<never>;
}

/** Runs a target: the corpus first, then inputs made of it, until the order is carried out. */
export class FuzzLoop {
  readonly #init: FuzzLoopInit;
  readonly #startedAt = Date.now();
  readonly #kept: Uint8Array[] = [];
  readonly #toldCounts = new Map<string, number>();
  #target: OpenTarget | undefined;
  #bases: readonly Uint8Array[] = [];
  #inputCount = 0;
  #unitCount = 0;
  #nextNumber: number;
  #failureCount = 0;
  #reportedAt = 0;
  #sampleCount = 0;
  #running: readonly Uint8Array[] = [];
  /** Run since the last look at the coverage, and how many groups may be. */
  #unseen: Uint8Array[] = [];
  #unseenGroupCount = 0;
  #unseenGroupCountMax = 1;
  /** Spent on finding out which inputs reached new code. */
  #learningMs = 0;

  constructor(init: FuzzLoopInit) {
    this.#init = init;
    this.#nextNumber = init.order.firstNumber;
  }

  async run(): Promise<void> {
    const { order, corpus, report } = this.#init;
    const opened = await this.#opened();
    this.#bases = [...opened.examples, ...corpus];
    if (this.#bases.length === 0) this.#bases = [new Uint8Array(0)];
    // Those after a crash have been through the corpus.
    if (order.firstNumber === 0) await this.#runBases();
    await this.#look();
    const sampleCountMax = this.#sampleCountMax;
    while (!this.#isOver) {
      await this.#runGroup(this.#nextGroup());
      if (this.#unitCount * sampleCountMax >= this.#sampleCount * order.unitCountMax) {
        await this.#look();
      }
    }
    await this.#look();
    await this.#close();
    report({ kind: "ended", progress: this.#progress });
  }

  async #runBases(): Promise<void> {
    const { groupLength, isConcurrent } = this.#init.target;
    const length = isConcurrent ? groupLength : 1;
    for (let at = 0; at < this.#bases.length; at += length) {
      await this.#runGroup(this.#bases.slice(at, at + length));
    }
  }

  /** A check may take as long as many inputs do: short runs have few. */
  get #sampleCountMax(): number {
    const { target, order } = this.#init;
    const groupCount = Math.floor(order.unitCountMax / target.groupLength);
    return Math.max(1, Math.min(MEMORY_SAMPLE_COUNT, Math.floor(groupCount / 10)));
  }

  /** Runs these, and nothing else. */
  async replay(inputs: readonly Uint8Array[]): Promise<void> {
    for (const input of inputs) await this.#runGroup([input]);
    await this.#checkUp(inputs);
    await this.#close();
    this.#init.report({ kind: "ended", progress: this.#progress });
  }

  /** What was not caught belongs to the inputs that run. */
  fail(kind: FailureKind, error: unknown): void {
    this.#tell({ kind, message: describe(error), inputs: this.#running.map(toBase64) });
  }

  get #cpuMsMax(): number {
    return this.#init.order.cpuMsMax ?? DEFAULT_CPU_MS_MAX;
  }

  get #isOver(): boolean {
    const { unitCountMax, secondsMax } = this.#init.order;
    return (
      this.#unitCount >= unitCountMax ||
      Date.now() - this.#startedAt >= secondsMax * 1000 ||
      this.#failureCount >= FAILURE_COUNT_MAX
    );
  }

  #nextGroup(): Uint8Array[] {
    const { groupLength } = this.#init.target;
    return Array.from({ length: groupLength }, () => this.#createInput(this.#nextNumber++));
  }

  #createInput(number: number): Uint8Array {
    const { target, order } = this.#init;
    const random = new Random(order.starts[number % order.starts.length] ?? 0, number);
    const base = this.#pickBase(random);
    const other = this.#pickBase(random);
    // Both ways: what a target knows of its inputs must not keep it from seeing others.
    const mutated = random.oneIn(4) ? undefined : this.#target?.mutate?.(base, random, { other });
    if (mutated !== undefined) return mutated.subarray(0, target.lengthMax);
    const dictionary = this.#target?.dictionary ?? [];
    return mutate(base, random, { other, dictionary, lengthMax: target.lengthMax });
  }

  /** What was found last is looked at more often. */
  #pickBase(random: Random): Uint8Array {
    if (this.#kept.length === 0 || random.oneIn(3)) return random.pick(this.#bases);
    const isRecent = random.oneIn(2);
    return random.pick(isRecent ? this.#kept.slice(-32) : this.#kept);
  }

  async #runGroup(group: readonly Uint8Array[]): Promise<void> {
    const { record, coverage } = this.#init;
    record.write(group);
    this.#running = group;
    const cpuBefore = process.cpuUsage();
    const isGood = await this.#runAll(group);
    const { user, system } = process.cpuUsage(cpuBefore);
    this.#inputCount += group.length;
    if (isGood && (user + system) / 1000 > this.#cpuMsMax) await this.#findSlowOne(group);
    if (isGood && coverage !== undefined) await this.#learn(group, coverage);
    this.reportProgress();
  }

  /** False if one of them failed; the target has been opened anew then. */
  async #runAll(group: readonly Uint8Array[]): Promise<boolean> {
    const target = await this.#opened();
    const failed: { readonly input: Uint8Array; readonly error: unknown }[] = [];
    const open = new Set(group);
    const runOne = async (input: Uint8Array): Promise<void> => {
      try {
        const running = target.run(input);
        const unitCount = (running instanceof Promise ? await running : running) ?? 1;
        this.#unitCount += unitCount;
      } catch (error) {
        failed.push({ input, error });
      }
      open.delete(input);
    };
    const runAll = async (): Promise<void> => {
      if (this.#init.target.isConcurrent) await Promise.all(group.map(runOne));
      else for (const input of group) await runOne(input);
    };
    if (!(await isOverWithin(runAll(), PATIENCE_MS))) {
      const message = `not over after ${PATIENCE_MS / 1000} s`;
      this.#tell({ kind: "stuck", message, inputs: [...open].slice(0, 64).map(toBase64) });
      await this.#init.giveUp();
    }
    if (failed.length === 0) return true;
    for (const { input, error } of failed) await this.#tellBroken(input, error);
    await this.#close();
    return false;
  }

  /** Keeps those that have reached code that nobody reached before. The longer nothing new is found, the less often it looks. */
  async #learn(group: readonly Uint8Array[], coverage: Coverage): Promise<void> {
    this.#unseen.push(...group);
    if (++this.#unseenGroupCount < this.#unseenGroupCountMax) return;
    const candidates = this.#unseen;
    const found = coverage.look();
    const isOldNews = found.length === 0;
    this.#unseen = [];
    this.#unseenGroupCount = 0;
    this.#unseenGroupCountMax = isOldNews
      ? Math.min(2 * this.#unseenGroupCountMax, UNSEEN_GROUP_COUNT_MAX)
      : 1;
    if (isOldNews) return;
    if (candidates.length === 1) {
      this.#keep(candidates);
      return;
    }
    const startedAt = Date.now();
    // Where inputs take long, finding out which it was must not take all the time there is.
    const elapsedMs = startedAt - this.#startedAt;
    const spareMs = LEARNING_MS_MIN + LEARNING_SHARE_MAX * elapsedMs - this.#learningMs;
    if (spareMs < 0) return;
    coverage.forget(found);
    const unitCount = this.#unitCount;
    await this.#findNew(candidates, { coverage, endsAt: startedAt + spareMs });
    this.#unitCount = unitCount; // they have been counted
    this.#learningMs += Date.now() - startedAt;
  }

  /** By halves, since one run of many inputs at once may take no longer than one of few; as far as there is time. */
  async #findNew(
    candidates: readonly Uint8Array[],
    search: { readonly coverage: Coverage; readonly endsAt: number },
  ): Promise<void> {
    const { coverage, endsAt } = search;
    const middle = Math.ceil(candidates.length / 2);
    for (const half of [candidates.slice(0, middle), candidates.slice(middle)]) {
      if (half.length === 0 || Date.now() > endsAt) continue;
      if (!(await this.#runAll(half))) return;
      const found = coverage.look();
      if (found.length === 0) continue;
      if (half.length === 1) {
        this.#keep(half);
        continue;
      }
      coverage.forget(found);
      await this.#findNew(half, search);
    }
  }

  #keep(inputs: readonly Uint8Array[]): void {
    for (const input of inputs) {
      if (this.#kept.length >= KEPT_COUNT_MAX || this.#bases.includes(input)) continue;
      this.#kept.push(input);
      this.#init.report({ kind: "kept", input: toBase64(input) });
    }
  }

  async #findSlowOne(group: readonly Uint8Array[]): Promise<void> {
    for (const input of group) {
      const before = process.cpuUsage();
      if (!(await this.#runAll([input]))) return;
      const { user, system } = process.cpuUsage(before);
      const cpuMs = (user + system) / 1000;
      if (cpuMs <= this.#cpuMsMax) continue;
      const message = `it takes ${Math.round(cpuMs)} ms of processor time, the limit is ${this.#cpuMsMax}`;
      this.#tell({ kind: "slow", message, inputs: [toBase64(input)] });
    }
  }

  /** Made smaller first, as long as it fails alike. */
  async #tellBroken(input: Uint8Array, error: unknown): Promise<void> {
    const message = describe(error);
    if (this.#isTold("broken", message)) return;
    const smaller = await minimise([...input], (fewer) => this.#failsAlike(fewer, error), {
      attemptsMax: MINIMISE_ATTEMPTS_MAX,
      secondsMax: MINIMISE_SECONDS_MAX,
    });
    const isAlone = smaller.length < input.byteLength || (await this.#failsAlike(smaller, error));
    const hint = isAlone ? "" : " (not by this input alone)";
    this.#tell({
      kind: "broken",
      message: message + hint,
      inputs: [toBase64(Uint8Array.from(smaller))],
    });
  }

  async #failsAlike(bytes: readonly number[], error: unknown): Promise<boolean> {
    await this.#close();
    const target = await this.#opened();
    const input = Uint8Array.from(bytes);
    this.#init.record.write([input]);
    let failure: unknown;
    const running = (async () => {
      try {
        await target.run(input);
      } catch (thrown) {
        failure = thrown;
      }
    })();
    if (!(await isOverWithin(running, PATIENCE_MS))) {
      this.#target = undefined;
      return false;
    }
    return failure !== undefined && toSignature(describe(failure)) === toSignature(describe(error));
  }

  #isTold(kind: FailureKind, message: string): boolean {
    this.#failureCount++;
    const signature = `${kind} ${toSignature(message)}`;
    const count = (this.#toldCounts.get(signature) ?? 0) + 1;
    this.#toldCounts.set(signature, count);
    return count > TOLD_COUNT_MAX;
  }

  #tell(failure: FailureReport): void {
    if (failure.kind !== "broken" && this.#isTold(failure.kind, failure.message)) return;
    this.#init.report({ kind: "failure", failure });
  }

  /** Whether all is as it should be between two inputs: the target, and the memory. */
  async #look(): Promise<void> {
    await this.#checkUp([]);
    globalThis.gc?.();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    // In KiB, whatever the platform.
    const peak = process.resourceUsage().maxRSS * 1024;
    const sample = { unitCount: this.#unitCount, rss, peak, held: heapUsed + arrayBuffers };
    this.#init.report({ kind: "memory", sample });
    this.#sampleCount++;
  }

  async #checkUp(inputs: readonly Uint8Array[]): Promise<void> {
    const target = await this.#opened();
    if (target.check === undefined) return;
    let failure: unknown;
    const checking = target.check().catch((error: unknown) => {
      failure = error;
    });
    const running = (inputs.length > 0 ? inputs : this.#running).map(toBase64);
    if (!(await isOverWithin(checking, PATIENCE_MS))) {
      this.#tell({ kind: "stuck", message: "the check is not over", inputs: running });
      await this.#init.giveUp();
    } else if (failure !== undefined) {
      const message = `the check fails: ${describe(failure)}`;
      if (!this.#isTold("broken", message))
        this.#tell({ kind: "broken", message, inputs: running });
      await this.#close();
    }
  }

  async #opened(): Promise<OpenTarget> {
    this.#target ??= await this.#init.target.open({
      directory: await this.#init.createDirectory(),
    });
    return this.#target;
  }

  async #close(): Promise<void> {
    const target = this.#target;
    this.#target = undefined;
    if (target === undefined) return;
    const closing = target[Symbol.asyncDispose]();
    if (!(await isOverWithin(closing, PATIENCE_MS))) {
      this.fail("stuck", new Error("the target cannot be closed"));
      await this.#init.giveUp();
    }
  }

  get #progress(): Extract<WorkerReport, { kind: "progress" }>["progress"] {
    return {
      inputCount: this.#inputCount,
      unitCount: this.#unitCount,
      nextNumber: this.#nextNumber,
      blockCount: this.#init.coverage?.blockCount ?? 0,
      keptCount: this.#kept.length,
    };
  }

  /** Also to be called now and then by a timer: who says nothing is hung. */
  reportProgress(): void {
    const now = Date.now();
    if (now - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = now;
    this.#init.report({ kind: "progress", progress: this.#progress });
  }
}

async function isOverWithin(work: PromiseLike<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  const cause = error.cause === undefined ? "" : `\n  because: ${describe(error.cause)}`;
  return `${error.stack ?? `${error.name}: ${error.message}`}${cause}`;
}

/** What failures for one reason have in common: the error's name, and where it was thrown. */
function toSignature(message: string): string {
  const name = /^[\w ]+/.exec(message)?.[0] ?? "";
  const frames = message.match(/^ +at .*$/gm) ?? [];
  return [name, ...frames.slice(0, 2)].join("\n");
}

function toBase64(input: Uint8Array): string {
  return Buffer.from(input).toString("base64");
}
