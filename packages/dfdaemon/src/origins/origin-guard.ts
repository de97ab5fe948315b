import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { SILENT_LOGGER, type Logger } from "../logger.ts";
import { explained, OriginError } from "./origin-error.ts";
import { SPREAD_MAX_MS } from "./breaker.ts";
import {
  OriginHealth,
  type Attempt,
  type HealthChange,
  type HealthTime,
  type HostReport,
  type Verdict,
} from "./origin-health.ts";
import type {
  OriginCallOptions,
  OriginRequest,
  OriginStat,
  OriginWait,
  RedirectTarget,
} from "./origin.ts";
import { redactUrl } from "./redact-url.ts";
import { RedirectMemory } from "./redirects.ts";
import { requestKey } from "./request-key.ts";
import { judgeRetry, retryAfterMs } from "./retry.ts";
import { joinSignals } from "../join-signals.ts";
import { steadyNow } from "../steady-now.ts";

export interface OriginGuardLimits {
  /** Tries after the first, when a connection fails or the origin answers 408, 425, 429 or 5xx. */
  readonly maxRetries: number;
  /** Waiting for what Retry-After asks, in one call, in milliseconds. */
  readonly retryAfterMaxMs: number;
  /** Waiting for an origin that has failed to be asked again, in one call, in milliseconds. Later ones fail at once instead. */
  readonly patienceMs: number;
  /** Whoever watches hears that an origin says nothing after so long, in milliseconds. */
  readonly silenceMs: number;
}

export const DEFAULT_ORIGIN_GUARD_LIMITS: OriginGuardLimits = {
  maxRetries: 3,
  retryAfterMaxMs: 120_000,
  patienceMs: 10_000,
  silenceMs: 5_000,
};

/** Time and chance, for tests to hold. */
export interface OriginClock {
  /** Milliseconds, of a clock that does not go back: for pauses. */
  now(): number;
  /** Unix milliseconds: for the dates that origins name, and those that are shown. It may be set at any time. */
  date(): number;
  /** Rejects when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** From 0 up to 1. */
  random(): number;
}

export const SYSTEM_CLOCK: OriginClock = {
  now: steadyNow,
  date: Date.now,
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
  random: Math.random,
};

export interface OriginGuardOptions {
  readonly limits?: Partial<OriginGuardLimits>;
  readonly clock?: OriginClock;
  readonly logger?: Logger;
}

/** What an origin was asked for, once it has begun to answer. To be told how it ends; nothing at all counts as left. */
export interface Guarded<Value> {
  readonly value: Value;
  succeeded(): void;
  failed(error: unknown): void;
  left(): void;
}

/** Asks an origin, once. */
export type OriginWork<Value> = (tryNumber: number, heard: () => void) => Promise<Value>;

/** What the guard has counted since the start. */
export interface OriginReport {
  readonly hosts: readonly HostReport[];
  /** Times a host, or a file of one, was found to fail again and again. */
  readonly openedCount: number;
  /** Calls that were refused at once. */
  readonly refusedCount: number;
  /** Pauses before an origin was asked, again or at all. */
  readonly waitCount: number;
}

/**
 * Stands before all questions to origins, whoever reads the answers: retries what is worth it, with one pace for all who ask the same host, and
 * spares hosts that fail. It decides and knows no HTTP, so the reading may happen in another process.
 */
export class OriginGuard {
  readonly #limits: OriginGuardLimits;
  readonly #clock: OriginClock;
  readonly #logger: Logger;
  readonly #health: OriginHealth;
  readonly #redirects: RedirectMemory;
  /** By `requestKey`. */
  readonly #watchers = new Map<string, Set<(wait: OriginWait) => void>>();
  readonly #closed = new AbortController();
  /** Resolved and made anew whenever somebody's attempt has come to something. */
  #change = createSignal();
  #openedCount = 0;
  #refusedCount = 0;
  #waitCount = 0;

  constructor(options: OriginGuardOptions = {}) {
    this.#limits = { ...DEFAULT_ORIGIN_GUARD_LIMITS, ...options.limits };
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#logger = options.logger ?? SILENT_LOGGER;
    this.#redirects = new RedirectMemory(() => this.#clock.now());
    // All who wait listen to it: that is no leak.
    setMaxListeners(0, this.#closed.signal);
    this.#health = new OriginHealth({ onChange: (change) => this.#noteChange(change) });
  }

  /**
   * Has `work` ask the origin, as soon as and as often as is right.
   *
   * @param work told which try it is, from 1; to be given up when `options.signal` aborts. Its value is all that was wanted. Where that takes long,
   * it calls `heard` as soon as the origin says anything
   * @throws {OriginError} the last one of `work`, or `ERR_ORIGIN_SUSPENDED`
   * @throws the signal's reason, and whatever else `work` throws
   */
  async ask<Value>(
    request: OriginRequest,
    work: OriginWork<Value>,
    options: OriginCallOptions & { readonly statOf?: (value: Value) => OriginStat } = {},
  ): Promise<Value> {
    const guarded = await this.open(request, work, options);
    guarded.succeeded();
    return guarded.value;
  }

  /** Where `request` was sent on to, if that is known: where to begin with the next part of a file. */
  targetOf(request: OriginRequest): RedirectTarget | undefined {
    return this.#redirects.find(request);
  }

  /** The same, where the value is only the beginning: a body that is still to be read. */
  async open<Value>(
    request: OriginRequest,
    work: OriginWork<Value>,
    options: OriginCallOptions & { readonly statOf?: (value: Value) => OriginStat } = {},
  ): Promise<Guarded<Value>> {
    const call: Call = { request, options, askedForMs: 0, patienceMs: 0 };
    for (let tryNumber = 1; ; tryNumber += 1) {
      const attempt = await this.#admit(call);
      try {
        const value = await this.#listening(call, (heard) => work(tryNumber, heard));
        this.#answered(attempt, options.statOf?.(value).target);
        return this.#guard(value, attempt);
      } catch (error) {
        this.#end(attempt, error);
        if (!(error instanceof OriginError)) throw error;
        const { maxRetries } = this.#limits;
        const verdict = judgeRetry(error, tryNumber, maxRetries, this.#clock.date());
        if (!verdict.retry) throw verdict.why === "" ? error : explained(error, verdict.why);
        call.failure = { error, tryNumber };
      }
    }
  }

  /** Calls back whenever somebody who asks for the same has to wait. Returns the way to stop. */
  watch(request: OriginRequest, listener: (wait: OriginWait) => void): () => void {
    const key = requestKey(request);
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers);
    watchers.add(listener);
    return () => {
      watchers.delete(listener);
      if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
    };
  }

  /** Whether it may be asked at this moment, without a wait: for what is worth no wait, as the rest of a piece that a parent does not bring. */
  mayAsk(request: OriginRequest): boolean {
    return this.#health.mayAsk(request, this.#clock.now()).kind === "go";
  }

  /** Whoever has asked so, past `open`, tells how that has failed: it holds back all others, too. */
  noteFailure(request: OriginRequest, error: unknown): void {
    this.#end(this.#health.begin(request), error);
  }

  report(): OriginReport {
    return {
      hosts: this.#health.report(this.#times()),
      openedCount: this.#openedCount,
      refusedCount: this.#refusedCount,
      waitCount: this.#waitCount,
    };
  }

  /** Ends every wait with the failure that it is because of. */
  close(): void {
    this.#closed.abort();
  }

  #guard<Value>(value: Value, attempt: Attempt): Guarded<Value> {
    return {
      value,
      succeeded: () => {
        this.#health.succeeded(attempt);
        this.#changed();
      },
      failed: (error) => this.#end(attempt, error),
      left: () => {
        this.#health.left(attempt);
        this.#changed();
      },
    };
  }

  #answered(attempt: Attempt, target: RedirectTarget | undefined): void {
    this.#redirects.remember(attempt.request, target);
    this.#health.answered(attempt, target && new URL(target.url).origin);
    this.#changed();
  }

  #end(attempt: Attempt, error: unknown): void {
    const time = { ...this.#times(), random: this.#clock.random() };
    if (error instanceof OriginError) {
      // The way there is looked up again: it may lead to somebody who is well.
      this.#redirects.remember(attempt.request, undefined);
      this.#health.failed(attempt, error, time);
    } else {
      this.#health.left(attempt);
    }
    this.#changed();
  }

  #times(): Pick<HealthTime, "nowMs" | "dateMs"> {
    return { nowMs: this.#clock.now(), dateMs: this.#clock.date() };
  }

  /** Resolves when the origin may be asked. */
  async #admit(call: Call): Promise<Attempt> {
    const { signal } = call.options;
    for (;;) {
      signal?.throwIfAborted();
      const nowMs = this.#clock.now();
      const verdict = this.#health.mayAsk(call.request, nowMs);
      if (verdict.kind === "go") return this.#health.begin(call.request);
      if (this.#closed.signal.aborted) throw this.#suspended(call, verdict, nowMs);
      if (verdict.kind === "hold") {
        await this.#untilTime(call, verdict, nowMs);
        continue;
      }
      // Whoever tries may wait for a time-out; nobody waits for more than one that has begun in time.
      if (call.patienceMs > this.#limits.patienceMs) throw this.#suspended(call, verdict, nowMs);
      await this.#untilChange(signal);
      call.patienceMs += this.#clock.now() - nowMs;
    }
  }

  async #untilTime(
    call: Call,
    verdict: Extract<Verdict, { readonly kind: "hold" }>,
    nowMs: number,
  ): Promise<void> {
    const { retryAfterMaxMs, patienceMs } = this.#limits;
    const waitMs = verdict.untilMs - nowMs;
    const waitedMs = verdict.isAskedFor ? call.askedForMs : call.patienceMs;
    const waitMaxMs = verdict.isAskedFor ? retryAfterMaxMs + SPREAD_MAX_MS : patienceMs;
    if (waitedMs + waitMs > waitMaxMs) throw this.#suspended(call, verdict, nowMs);
    if (verdict.isAskedFor) call.askedForMs += waitMs;
    else call.patienceMs += waitMs;
    this.#tell(call, {
      kind: verdict.isAskedFor ? "asked" : "failed",
      waitMs,
      reason: reasonOf(call, verdict),
      attempt: call.failure?.tryNumber ?? 0,
    });
    const { signal } = call.options;
    const closed = this.#closed.signal;
    using joined = joinSignals(closed, ...(signal === undefined ? [] : [signal]));
    const either = joined.signal;
    try {
      await this.#clock.sleep(waitMs, either);
    } catch (cause) {
      if (!either.aborted) throw cause;
    }
  }

  async #untilChange(signal: AbortSignal | undefined): Promise<void> {
    const ends = [signal, this.#closed.signal].filter((each) => each !== undefined);
    let onAbort: () => void = () => {};
    const aborted = new Promise<void>((resolve) => {
      onAbort = resolve;
      for (const each of ends) each.addEventListener("abort", onAbort, { once: true });
    });
    try {
      await Promise.race([this.#change.promise, aborted]);
    } finally {
      for (const each of ends) each.removeEventListener("abort", onAbort);
    }
  }

  /** Says so when nothing is heard for a while. */
  async #listening<Value>(call: Call, work: (heard: () => void) => Promise<Value>): Promise<Value> {
    const { silenceMs } = this.#limits;
    const timer = setTimeout(() => {
      const reason = `it has not answered for ${seconds(silenceMs)} s`;
      this.#tell(call, { kind: "silent", waitMs: 0, reason, attempt: 0 });
    }, silenceMs);
    timer.unref();
    try {
      return await work(() => clearTimeout(timer));
    } finally {
      clearTimeout(timer);
    }
  }

  #suspended(call: Call, verdict: Exclude<Verdict, { kind: "go" }>, nowMs: number): OriginError {
    const error = call.failure?.error;
    if (verdict.kind === "await") {
      if (error !== undefined) return error;
      this.#refusedCount += 1;
      return suspendedError(call, verdict, "another request tries it at this moment", undefined);
    }
    const dateMs = this.#clock.date();
    const leftMs = verdict.untilMs - nowMs;
    const retryAtMs = Math.ceil(dateMs + leftMs);
    // As it said, without what is added by chance.
    const left = seconds((error && retryAfterMs(error, dateMs)) ?? leftMs);
    if (verdict.isAskedFor) {
      const limit = seconds(this.#limits.retryAfterMaxMs);
      const waited =
        call.askedForMs === 0 ? "" : `${seconds(call.askedForMs)} s have been waited, `;
      const why = `it asks to come back in ${left} s, ${waited}the limit is ${limit} s`;
      if (error !== undefined) return explained(error, `; ${why}`);
      this.#refusedCount += 1;
      return suspendedError(call, verdict, why, retryAtMs);
    }
    const why = `it is asked again in ${left} s`;
    if (error !== undefined) return explained(error, `; ${why}`);
    this.#refusedCount += 1;
    return suspendedError(call, verdict, why, retryAtMs);
  }

  #tell(call: Call, wait: OriginWait): void {
    const { request, options } = call;
    this.#waitCount += 1;
    this.#logger.info(
      { url: redactUrl(request.url), waitMs: wait.waitMs, attempt: wait.attempt },
      `waiting for the origin: ${wait.reason}`,
    );
    options.onWait?.(wait);
    for (const listener of this.#watchers.get(requestKey(request)) ?? []) listener(wait);
  }

  #noteChange({ kind, what, url, failureCount, lastFailure }: HealthChange): void {
    const fields = url === undefined ? {} : { url };
    if (kind === "closed") {
      this.#logger.info(fields, `${what} works again`);
      return;
    }
    this.#openedCount += 1;
    this.#logger.warn(
      { ...fields, failureCount },
      `${what} has failed ${failureCount} times in a row and is spared: it is asked again later and later, by one request at a time; last: ${lastFailure}`,
    );
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = createSignal();
  }
}

interface Call {
  readonly request: OriginRequest;
  readonly options: OriginCallOptions;
  /** Waited for Retry-After so far, in milliseconds. */
  askedForMs: number;
  /** Waited for what has failed to be asked again, in milliseconds. */
  patienceMs: number;
  /** Its own last failure. */
  failure?: { readonly error: OriginError; readonly tryNumber: number };
}

function reasonOf(call: Call, verdict: Extract<Verdict, { kind: "hold" }>): string {
  const { failure } = call;
  if (failure === undefined) return failuresOf(verdict);
  const { message, responseHeader } = failure.error;
  const retryAfter = responseHeader?.["retry-after"];
  return verdict.isAskedFor && retryAfter !== undefined
    ? `${message}, Retry-After: ${retryAfter}`
    : message;
}

function suspendedError(
  { request }: Call,
  verdict: Exclude<Verdict, { kind: "go" }>,
  why: string,
  retryAtMs: number | undefined,
): OriginError {
  return new OriginError(
    "ERR_ORIGIN_SUSPENDED",
    `Cannot read ${redactUrl(request.url)}: ${failuresOf(verdict)}; ${why}`,
    { retryAtMs },
  );
}

function failuresOf({ what, failureCount, lastFailure }: Exclude<Verdict, { kind: "go" }>): string {
  const times = failureCount <= 1 ? "has failed" : `has failed ${failureCount} times in a row`;
  return `${what} ${times}, last: ${lastFailure}`;
}

function createSignal(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
