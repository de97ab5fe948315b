import { performance } from "node:perf_hooks";

import type { DfgetError } from "./errors.ts";
import type { DaemonWait } from "./message-codec.ts";
import { printable, printableUrl } from "./printable.ts";
import { RateMeter } from "./rate-meter.ts";
import type { Reporter, ReporterOptions, StartedTask } from "./reporter.ts";

/**
 * For programs: one JSON object a line. `event` is `note`, `started`, `progress` (once a second at most), `waiting` (what for, and until when
 * at the latest; also before the start), `moving` (again), `done` or `error`; lengths are bytes, times milliseconds, rates bytes per second.
 * The last line is `done` or `error`.
 */
export function createJsonReporter(options: ReporterOptions): Reporter {
  return new JsonReporter(options);
}

class JsonReporter implements Reporter {
  readonly #options: ReporterOptions;
  readonly #now: () => number;
  readonly #startedAtMs: number;
  #meter: RateMeter;
  #task: StartedTask | undefined;
  #reportedAtMs = -Infinity;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#startedAtMs = this.#now();
    this.#meter = new RateMeter(this.#startedAtMs);
  }

  note(text: string): void {
    this.#write({ event: "note", message: text });
  }

  started(task: StartedTask): void {
    this.#task = task;
    this.#meter = new RateMeter(this.#now());
    const { taskId, peerId, plan } = task;
    const { contentLength, offset, length } = plan;
    this.#write({
      event: "started",
      url: this.#url,
      output: this.#options.label,
      taskId,
      peerId,
      contentLength,
      offset,
      length,
      pieceCount: plan.pieces.size,
    });
  }

  advanced(): void {
    if (this.#task === undefined) return;
    const nowMs = this.#now();
    const { tally, carriesContent } = this.#task;
    const { done, fromLocal } = tally.state;
    const rate = this.#meter.measure(nowMs, carriesContent ? done : done - fromLocal);
    if (!this.#options.progress || nowMs - this.#reportedAtMs < PROGRESS_MS) return;
    this.#reportedAtMs = nowMs;
    this.#write({ event: "progress", ...this.#state(), rate: Math.round(rate) });
  }

  waiting(wait: DaemonWait | undefined): void {
    if (!this.#options.progress) return;
    const { elapsedMs } = this.#state();
    if (wait === undefined) {
      this.#write({ event: "moving", elapsedMs });
      return;
    }
    const { reason, description, waitedMs, boundMs } = wait;
    this.#write({
      event: "waiting",
      reason,
      description: printable(description),
      waitedMs,
      boundMs: boundMs === 0 ? null : boundMs,
      elapsedMs,
    });
  }

  done(): void {
    if (this.#task === undefined) return;
    const state = this.#state();
    const { length } = this.#task.plan;
    const rate = state.elapsedMs > 0 ? Math.round((length * 1000) / state.elapsedMs) : 0;
    this.#write({
      event: "done",
      url: this.#url,
      output: this.#options.label,
      taskId: this.#task.taskId,
      ...state,
      rate,
    });
  }

  failed(error: DfgetError, exitCode: number): void {
    const { code, message, status, origin } = error;
    this.#write({ event: "error", code, message, exitCode, url: this.#url, status, origin });
  }

  [Symbol.dispose](): void {}

  get #url(): string {
    return printableUrl(this.#options.url, this.#options.secretParams);
  }

  #state(): Record<string, unknown> & { readonly elapsedMs: number } {
    const elapsedMs = Math.round(this.#now() - this.#startedAtMs);
    const state = this.#task?.tally.state;
    return { elapsedMs, ...state, fromParents: Object.fromEntries(state?.fromParents ?? []) };
  }

  #write(event: object): void {
    this.#options.target.write(`${JSON.stringify(event)}\n`);
  }
}

const PROGRESS_MS = 1000;
