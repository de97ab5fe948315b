import type { Random } from "./random.ts";

/** What can be fuzzed. It is opened in a process of its own, which may not survive it. */
export interface FuzzTarget {
  readonly name: string;
  /** What is done with an input, and what must be true of it: one line. */
  readonly summary: string;
  /** What `unitCount` counts; default inputs. */
  readonly unit?: string;
  /** Longest input, in bytes. */
  readonly lengthMax: number;
  /** Inputs that run together: at once where `isConcurrent`, otherwise one after the other. */
  readonly groupLength: number;
  readonly isConcurrent: boolean;
  open(options: OpenTargetOptions): Promise<OpenTarget>;
}

export interface OpenTargetOptions {
  /** An empty directory that is removed afterwards. */
  readonly directory: string;
}

/** Disposing it must end everything that it has opened. */
export interface OpenTarget extends AsyncDisposable {
  /** Good inputs, to begin with. */
  readonly examples: readonly Uint8Array[];
  /** What is worth being somewhere in an input. */
  readonly dictionary?: readonly Uint8Array[];
  /** Another way to make an input of one; default: byte by byte, as `mutate` does. */
  mutate?(input: Uint8Array, random: Random, options: { readonly other: Uint8Array }): Uint8Array;
  /**
   * Runs one input, any bytes whatever.
   *
   * @returns how many units it was; nothing: one
   * @throws whatever shows that a promise is broken
   */
  run(input: Uint8Array): number | void | Promise<number | void>;
  /** Between inputs, now and then: whether all is as it was, and good clients are served. @throws if not */
  check?(): Promise<void>;
}

/** A promise that an input has broken. */
export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";
}

/** @throws {BrokenPromise} unless it holds */
export function assertHolds(holds: boolean, what: string | (() => string)): asserts holds {
  if (holds) return;
  throw new BrokenPromise(typeof what === "string" ? what : what());
}
