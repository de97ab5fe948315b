/** What a worker process is told to do, as JSON in its only argument. */
export interface WorkerOrder {
  readonly target: string;
  /** Start values of the random numbers, integers: inputs are made of one after the other, by turns. At least one. */
  readonly starts: readonly number[];
  /** Number of the first input; those before it have been run by a worker that did not survive it. */
  readonly firstNumber: number;
  /** The run ends with the unit that reaches the one, or when so much time has passed. */
  readonly unitCountMax: number;
  readonly secondsMax: number;
  /** Whether inputs that reach new code are kept and mutated further. */
  readonly isGuided: boolean;
  readonly corpusDirectory: string;
  /** For the flight record and the target's own files. */
  readonly directory: string;
  /** Processor time that one input may take, in milliseconds; default 2,000. */
  readonly cpuMsMax?: number;
  /** Only these inputs, in this order, from a file as `encodeInputs` makes it. */
  readonly replayPath?: string;
}

/** How an input came to be a failure. */
export type FailureKind =
  /** `run` or `check` threw. */
  | "broken"
  /** Something threw where nobody caught it. */
  | "uncaught"
  /** It took more processor time than an input may. */
  | "slow"
  /** It did not come to its end. */
  | "stuck"
  /** The process does not answer any more. */
  | "hung"
  /** The process is gone. */
  | "crashed"
  /** Memory grew. */
  | "memory";

export interface FailureReport {
  readonly kind: FailureKind;
  readonly message: string;
  /** Base64. More than one if it is not known which of them it is. */
  readonly inputs: readonly string[];
}

export interface MemorySample {
  readonly unitCount: number;
  /** Of the process, in bytes. */
  readonly rss: number;
  /** The most that it has been so far. */
  readonly peak: number;
  /** Of JavaScript's objects and buffers, after a collection, in bytes. */
  readonly held: number;
}

/** What a worker says; at least every few seconds, unless it is hung. */
export type WorkerReport =
  | { readonly kind: "progress"; readonly progress: WorkerProgress }
  | { readonly kind: "failure"; readonly failure: FailureReport }
  | { readonly kind: "memory"; readonly sample: MemorySample }
  /** An input that reached new code, base64. */
  | { readonly kind: "kept"; readonly input: string }
  | { readonly kind: "ended"; readonly progress: WorkerProgress };

export interface WorkerProgress {
  /** Inputs run, the corpus's included. */
  readonly inputCount: number;
  readonly unitCount: number;
  /** Number of the next input. */
  readonly nextNumber: number;
  readonly blockCount: number;
  readonly keptCount: number;
}
