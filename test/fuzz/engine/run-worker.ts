import { fork, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readFlightRecord } from "./flight-record.ts";
import { encodeInputs } from "./input-list.ts";
import { minimise } from "./minimise.ts";
import type {
  FailureKind,
  FailureReport,
  MemorySample,
  WorkerOrder,
  WorkerProgress,
  WorkerReport,
} from "./worker-protocol.ts";

/** A worker that says nothing for so long is hung, unless the order says otherwise. Milliseconds. */
const SILENCE_MS = 90_000;
/** From its last word to its end: nothing is left to be done by then. Milliseconds. */
const LEAVE_MS = 20_000;
/** Workers that one run may lose. */
const LOSS_COUNT_MAX = 10;
/** Processes started to make the inputs of a crash fewer and smaller. */
const CRASH_ATTEMPTS_MAX = 60;
const NARROW_SECONDS_MAX = 300;
const STDERR_LENGTH_MAX = 4_000;

export interface FuzzOrder extends Omit<WorkerOrder, "firstNumber" | "directory" | "replayPath"> {
  /** The worker as built: `dist/worker.js`. */
  readonly workerPath: string;
  /** Where temporary files go; what is made there is removed. */
  readonly temporaryDirectory: string;
  readonly silenceMs?: number;
}

export interface FuzzOutcome {
  readonly progress: WorkerProgress;
  readonly failures: readonly FailureReport[];
  readonly memory: readonly MemorySample[];
  readonly seconds: number;
}

export interface FuzzObserver {
  progressed?(progress: WorkerProgress): void;
  failed?(failure: FailureReport): void;
  kept?(input: Uint8Array): void;
}

/** Has a target fuzzed by worker processes, one after the other: the next goes on where one has been lost. */
export async function runWorkers(
  order: FuzzOrder,
  observer: FuzzObserver = {},
): Promise<FuzzOutcome> {
  const startedAt = Date.now();
  const failures: FailureReport[] = [];
  const memory: MemorySample[] = [];
  let total: WorkerProgress = NOTHING;
  for (let lossCount = 0; lossCount <= LOSS_COUNT_MAX; lossCount++) {
    const rest = {
      ...order,
      unitCountMax: order.unitCountMax - total.unitCount,
      secondsMax: order.secondsMax - (Date.now() - startedAt) / 1000,
    };
    const before = total;
    const unsorted: FailureReport[] = [];
    const end = await runWorker(rest, { firstNumber: total.nextNumber }, (report) => {
      if (report.kind === "memory") memory.push(report.sample);
      else if (report.kind === "kept") observer.kept?.(Buffer.from(report.input, "base64"));
      else if (report.kind === "failure") {
        if (report.failure.kind === "uncaught") unsorted.push(report.failure);
        else tell(report.failure);
      } else {
        total = add(before, report.progress);
        observer.progressed?.(total);
      }
    });
    if (end.loss !== undefined) unsorted.push(end.loss);
    for (const failure of unsorted) tell(await narrow(failure, order));
    if (end.isOver) break;
    // What it was doing is not done again.
    total = { ...total, nextNumber: total.nextNumber + end.skippedCount };
  }
  return { progress: total, failures, memory, seconds: (Date.now() - startedAt) / 1000 };

  function tell(failure: FailureReport): void {
    failures.push(failure);
    observer.failed?.(failure);
  }
}

/** Runs these inputs alone. @returns what went wrong */
export async function replay(
  inputs: readonly Uint8Array[],
  order: FuzzOrder,
): Promise<readonly FailureReport[]> {
  const failures: FailureReport[] = [];
  const end = await runWorker({ ...order, isGuided: false }, { replay: inputs }, (report) => {
    if (report.kind === "failure") failures.push(report.failure);
  });
  if (end.loss !== undefined) failures.push(end.loss);
  return failures;
}

interface WorkerEnd {
  /** It has done what it was told. */
  readonly isOver: boolean;
  /** How it was lost, if it was. */
  readonly loss: FailureReport | undefined;
  /** Inputs that may be the reason. */
  readonly skippedCount: number;
}

async function runWorker(
  order: FuzzOrder,
  start: { readonly firstNumber?: number; readonly replay?: readonly Uint8Array[] },
  onReport: (report: WorkerReport) => void,
): Promise<WorkerEnd> {
  await mkdir(order.temporaryDirectory, { recursive: true });
  const directory = await mkdtemp(join(order.temporaryDirectory, "worker-"));
  try {
    const replayPath = join(directory, "replay");
    if (start.replay !== undefined) await writeFile(replayPath, encodeInputs(start.replay));
    const child = startChild(order.workerPath, {
      ...order,
      directory,
      firstNumber: start.firstNumber ?? 0,
      ...(start.replay === undefined ? {} : { replayPath }),
    });
    const { how, hasEnded, wasTold } = await watch(child, order.silenceMs ?? SILENCE_MS, onReport);
    if (how === undefined) return { isOver: true, loss: undefined, skippedCount: 0 };
    const groups = readFlightRecord(directory);
    const inputs = groups.flat();
    const skippedCount = groups.at(-1)?.length ?? 0;
    // It has said itself what was wrong, and ended for that.
    const loss = wasTold ? undefined : { ...how, inputs: inputs.map(toBase64) };
    return { isOver: hasEnded, loss, skippedCount };
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

function startChild(path: string, order: WorkerOrder): ChildProcess {
  return fork(path, [JSON.stringify(order)], {
    execArgv: ["--expose-gc", "--stack-trace-limit=8"],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
}

/** Until it has ended; one that is silent is killed. */
async function watch(
  child: ChildProcess,
  silenceMs: number,
  onReport: (report: WorkerReport) => void,
): Promise<{
  readonly how: { readonly kind: FailureKind; readonly message: string } | undefined;
  readonly hasEnded: boolean;
  readonly wasTold: boolean;
}> {
  let hasEnded = false;
  let wasTold = false;
  let isSilent = false;
  let stderr = "";
  let timer: NodeJS.Timeout | undefined;
  const listen = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      isSilent = true;
      child.kill("SIGKILL");
    }, ms);
  };
  listen(silenceMs);
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-STDERR_LENGTH_MAX);
  });
  child.on("message", (report: WorkerReport) => {
    if (report.kind === "ended") hasEnded = true;
    if (report.kind === "failure") wasTold = ["uncaught", "stuck"].includes(report.failure.kind);
    listen(hasEnded ? Math.min(LEAVE_MS, silenceMs) : silenceMs);
    onReport(report);
  });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once("close", (...end) => resolve(end));
  });
  clearTimeout(timer);
  if (hasEnded && !isSilent && code === 0) return { how: undefined, hasEnded, wasTold };
  const said = stderr === "" ? "" : `\n${stderr}`;
  const how = isSilent
    ? hasEnded
      ? {
          kind: "hung" as const,
          message: `the process does not end: something was left open${said}`,
        }
      : {
          kind: "hung" as const,
          message: `the process was silent for ${silenceMs / 1000} s${said}`,
        }
    : {
        kind: "crashed" as const,
        message: `the process ended with ${signal ?? `code ${code}`}${said}`,
      };
  return { how, hasEnded, wasTold };
}

/** Fewer inputs that cost the process as these did, then a smaller one if it is one alone. */
async function narrow(loss: FailureReport, order: FuzzOrder): Promise<FailureReport> {
  const all = loss.inputs.map((input) => Buffer.from(input, "base64"));
  // Waiting until a process is seen to be hung takes long.
  const attemptsMax = loss.kind === "hung" ? 8 : CRASH_ATTEMPTS_MAX;
  const isLost = async (inputs: readonly Uint8Array[]): Promise<boolean> => {
    const failures = await replay(inputs, order);
    return failures.some(({ kind }) => kind === loss.kind);
  };
  if (all.length === 0 || !(await isLost(all))) {
    return { ...loss, message: `${loss.message}\n(it does not happen again with the same inputs)` };
  }
  const limits = { attemptsMax, secondsMax: NARROW_SECONDS_MAX };
  const fewer = await minimise(all, isLost, limits);
  const [only] = fewer;
  if (fewer.length !== 1 || only === undefined) return { ...loss, inputs: fewer.map(toBase64) };
  const smaller = await minimise([...only], (bytes) => isLost([Uint8Array.from(bytes)]), limits);
  return { ...loss, inputs: [toBase64(Uint8Array.from(smaller))] };
}

const NOTHING: WorkerProgress = {
  inputCount: 0,
  unitCount: 0,
  nextNumber: 0,
  blockCount: 0,
  keptCount: 0,
};

function add(before: WorkerProgress, now: WorkerProgress): WorkerProgress {
  return {
    inputCount: before.inputCount + now.inputCount,
    unitCount: before.unitCount + now.unitCount,
    nextNumber: now.nextNumber,
    blockCount: Math.max(before.blockCount, now.blockCount),
    keptCount: before.keptCount + now.keptCount,
  };
}

function toBase64(input: Uint8Array): string {
  return Buffer.from(input).toString("base64");
}
