import { performance } from "node:perf_hooks";
import type { Writable } from "node:stream";

import type { DfgetError } from "./errors.ts";
import { formatFailure } from "./format-failure.ts";
import {
  type BarStyle,
  formatBar,
  formatProgressLine,
  formatSummary,
  formatWaitBar,
  formatWaitLine,
  type WaitView,
} from "./format-progress.ts";
import type { DaemonWait } from "./message-codec.ts";
import { RateMeter } from "./rate-meter.ts";
import type { TransferPlan } from "./transfer-plan.ts";
import type { TransferState, TransferTally } from "./transfer-tally.ts";

/** What the user sees of a download. Disposing stops timers, and leaves the terminal as it was. */
export interface Reporter extends Disposable {
  note(text: string): void;
  started(task: StartedTask): void;
  advanced(): void;
  /** What the daemon waits for; undefined: something moves again. May come before the start. */
  waiting(wait: DaemonWait | undefined): void;
  done(): void;
  failed(error: DfgetError, exitCode: number): void;
}

export interface StartedTask {
  readonly taskId: string;
  readonly peerId: string;
  readonly plan: TransferPlan;
  readonly tally: TransferTally;
  /** The pieces carry their content: then those on the daemon's disk take time too, and count for the rate. */
  readonly carriesContent: boolean;
}

export interface ReporterOptions {
  /** Where everything goes. */
  readonly target: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** Name to show for the output. */
  readonly label: string;
  readonly url: string;
  /** Query parameters of the URL whose values are not shown. */
  readonly secretParams: readonly string[];
  readonly progress: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds from any fixed point. */
  readonly now?: () => number;
}

/** For people: a bar on a terminal, a line now and then elsewhere, and a closing line. */
export function createTextReporter(options: ReporterOptions): Reporter {
  return new TextReporter(options);
}

/** Whether escape sequences make sense there. */
export function isCapableTerminal(
  target: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return target.isTTY === true && env["TERM"] !== "dumb";
}

class TextReporter implements Reporter {
  readonly #options: ReporterOptions;
  readonly #now: () => number;
  readonly #isTerminal: boolean;
  readonly #style: Omit<BarStyle, "columns">;
  readonly #startedAtMs: number;
  #meter: RateMeter;
  #tally: TransferTally | undefined;
  #timer: NodeJS.Timeout | undefined;
  #shownAtMs: number;
  #wait: (DaemonWait & { readonly sinceMs: number }) | undefined;
  #carriesContent = false;
  #isBarShown = false;

  constructor(options: ReporterOptions) {
    const { target, env } = options;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#isTerminal = isCapableTerminal(target, env);
    this.#style = { unicode: hasUnicode(env), color: this.#isTerminal && isColorWanted(env) };
    this.#startedAtMs = this.#now();
    this.#shownAtMs = this.#startedAtMs;
    this.#meter = new RateMeter(this.#startedAtMs);
  }

  note(text: string): void {
    this.#print(`${text}\n`);
  }

  started({ tally, carriesContent }: StartedTask): void {
    this.#tally = tally;
    this.#carriesContent = carriesContent;
    this.#meter = new RateMeter(this.#now());
    if (!this.#options.progress) return;
    if (this.#isTerminal) this.#draw();
    // The rate and the time left change even while nothing arrives.
    this.#timer ??= setInterval(() => this.#showIfDue(), TICK_MS).unref();
  }

  advanced(): void {
    if (this.#tally === undefined) return;
    this.#measure(this.#tally.state);
    if (this.#options.progress) this.#showIfDue();
  }

  waiting(wait: DaemonWait | undefined): void {
    this.#wait = wait && { ...wait, sinceMs: this.#now() - wait.waitedMs };
    if (!this.#options.progress) return;
    // It goes on while nothing is heard.
    if (wait !== undefined) this.#timer ??= setInterval(() => this.#showIfDue(), TICK_MS).unref();
    else if (this.#isTerminal) this.#draw();
  }

  done(): void {
    if (this.#tally === undefined) return;
    const durationMs = this.#now() - this.#startedAtMs;
    this.#print(
      `${formatSummary({ label: this.#options.label, state: this.#tally.state, durationMs })}\n`,
    );
  }

  failed(error: DfgetError): void {
    const { url, secretParams } = this.#options;
    this.#print(formatFailure(error, { url, secretParams, color: this.#style.color }));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#eraseBar();
  }

  #showIfDue(): void {
    if (this.#now() - this.#shownAtMs < (this.#isTerminal ? FRAME_MS : LINE_MS)) return;
    if (this.#isTerminal) {
      this.#shownAtMs = this.#now();
      this.#draw();
      return;
    }
    const line = this.#line();
    if (line === undefined) return;
    this.#shownAtMs = this.#now();
    this.#options.target.write(`${line}\n`);
  }

  /** Undefined: there is nothing to say at this moment. */
  #line(): string | undefined {
    const waiting = this.#waitView();
    if (waiting !== undefined) return formatWaitLine(waiting);
    const view = this.#view();
    return view !== undefined && view.state.done < view.state.length
      ? formatProgressLine(view)
      : undefined;
  }

  #draw(): void {
    const { target } = this.#options;
    const { columns = 80 } = target;
    const waiting = this.#waitView();
    const view = waiting === undefined ? this.#view() : undefined;
    // A terminal that does not keep up gets fewer frames.
    if (target.writableNeedDrain) return;
    if (waiting !== undefined) target.write(`\r${formatWaitBar(waiting, { columns })}\u001b[K`);
    else if (view !== undefined)
      target.write(`\r${formatBar(view, { ...this.#style, columns })}\u001b[K`);
    else return;
    this.#isBarShown = true;
  }

  /** Undefined: nothing has been waited for that long. */
  #waitView(): { label: string; state: TransferState | undefined; wait: WaitView } | undefined {
    if (this.#wait === undefined) return undefined;
    const { description, boundMs, sinceMs } = this.#wait;
    const elapsedMs = this.#now() - sinceMs;
    if (elapsedMs < WAIT_SHOWN_MS) return undefined;
    const wait = { description, boundMs, elapsedMs };
    return { label: this.#options.label, state: this.#tally?.state, wait };
  }

  #view(): { label: string; state: TransferState; rate: number } | undefined {
    if (this.#tally === undefined) return undefined;
    const { state } = this.#tally;
    return { label: this.#options.label, state, rate: this.#measure(state) };
  }

  #measure(state: TransferState): number {
    return this.#meter.measure(
      this.#now(),
      this.#carriesContent ? state.done : state.done - state.fromLocal,
    );
  }

  #print(text: string): void {
    this.#eraseBar();
    this.#options.target.write(text);
  }

  #eraseBar(): void {
    if (this.#isBarShown) this.#options.target.write("\r\u001b[K");
    this.#isBarShown = false;
  }
}

function hasUnicode(env: Readonly<Record<string, string | undefined>>): boolean {
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "";
  return /utf-?8/i.test(locale);
}

/** See no-color.org. */
function isColorWanted(env: Readonly<Record<string, string | undefined>>): boolean {
  return (env["NO_COLOR"] ?? "") === "";
}

const FRAME_MS = 100;
/** Half a frame, so that a tick that is early does not cost a frame. */
const TICK_MS = 50;
/** Who waits no longer need not be told. */
const WAIT_SHOWN_MS = 3000;
/** Between two lines of a log. */
const LINE_MS = 3000;
