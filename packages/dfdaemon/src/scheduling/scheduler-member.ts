import {
  checkHealth,
  createSchedulerClient,
  durationFromMs,
  onceLost,
  onceReady,
  RpcError,
  type Host,
  type SchedulerClient,
} from "@damselfly/rpc";
import type { Tls } from "@damselfly/transport";
import { isLoopback } from "../identity/is-loopback.ts";
import { jitter } from "../jitter.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { pause } from "../pause.ts";
import type { SchedulerDialect } from "./scheduler-link.ts";
import type { KnownScheduler } from "./scheduler-source.ts";

/** To find out whether a scheduler is there, the dial and TLS included: on a machine that is very busy that takes seconds. Milliseconds. */
const PROBE_MS = 10_000;
/** To announce this host, the dial included. Milliseconds. */
const ANNOUNCE_MS = 5_000;
/** The last call, which nobody should have to wait for. Milliseconds. */
const SIGN_OFF_MS = 1_000;
/** How soon what failed is tried again, at first and at most; each a little sooner or later, for there are many daemons. Milliseconds. */
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** After its connection was lost, or is there again, a scheduler is looked at so soon, on average. Milliseconds. */
const TURN_MS = 300;
/** Nothing makes it be looked at more often than this. Milliseconds. */
const VISIT_MS = 100;

export interface SchedulerMemberOptions {
  readonly tls?: Tls;
  readonly hostId: string;
  /** This host as it is at this moment. */
  readonly describeHost: () => Promise<Host>;
  readonly announceIntervalMs: number;
  /** Between two questions whether a healthy scheduler is still healthy. */
  readonly probeIntervalMs: number;
  /** Its health is known for the first time, or has changed. */
  readonly onHealth: () => void;
  readonly logger: Logger;
  readonly random?: () => number;
}

/**
 * One scheduler that this daemon knows of. It is asked again and again whether it is healthy, and told that this host is there as long as
 * it is enrolled: at once, then once an interval, and anew when the connection was lost, since a scheduler that was restarted has
 * forgotten everybody. Disposing signs off, then disconnects.
 */
export class SchedulerMember implements AsyncDisposable {
  readonly scheduler: KnownScheduler;
  readonly client: SchedulerClient;
  /** Settles when `healthy` is known. */
  readonly probed: Promise<void>;
  readonly #options: SchedulerMemberOptions;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  #onProbed: () => void = () => {};
  #healthy: boolean | undefined;
  #failure: unknown;
  #dialect: SchedulerDialect | undefined;
  #enrolled = false;
  #known: Promise<void> | undefined;
  /** It may know this host: told, whatever it answered. */
  #told = false;
  #announcedMs = 0;
  #retryMs = RETRY_FIRST_MS;
  #complained = false;
  #watched = false;
  #awaited = false;
  #left: Promise<void> | undefined;
  #hurry: () => void = () => {};
  #hurried = false;

  constructor(scheduler: KnownScheduler, options: SchedulerMemberOptions) {
    this.scheduler = scheduler;
    this.#options = options;
    this.#random = options.random ?? Math.random;
    const tls = options.tls === undefined ? {} : { tls: options.tls };
    this.client = createSchedulerClient({ ip: scheduler.ip, port: scheduler.port }, tls);
    this.probed = new Promise((resolve) => {
      this.#onProbed = resolve;
    });
    this.#loop = this.#attend();
  }

  /** Undefined: not known yet. */
  get healthy(): boolean | undefined {
    return this.#healthy;
  }

  /** Undefined: this host was never announced there. */
  get dialect(): SchedulerDialect | undefined {
    return this.#dialect;
  }

  /** Why it is not healthy. */
  get failure(): string {
    const failure = this.#failure;
    return failure === undefined ? "not asked yet" : reasonOf(failure);
  }

  /** Whether this host is to be known there. */
  enroll(enrolled: boolean): void {
    if (this.#enrolled === enrolled) return;
    this.#enrolled = enrolled;
    this.#wake();
  }

  /** Resolves when the scheduler knows this host. @throws {RpcError} if it cannot be told now */
  async announced(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await (this.#known ??= this.#announce());
    signal.throwIfAborted();
  }

  /** The scheduler has forgotten this host, or is gone: finds out which, and announces this host anew. */
  doubt(): void {
    this.#known = undefined;
    this.#wake();
  }

  /** Stops announcing, and signs off if there was anything to sign off from. Idempotent. */
  leave(): Promise<void> {
    this.#left ??= this.#signOff();
    return this.#left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
    await this.client[Symbol.asyncDispose]();
  }

  async #attend(): Promise<void> {
    const { signal } = this.#stop;
    // Whoever made this is not done with it.
    await Promise.resolve();
    while (!signal.aborted) {
      this.#hurried = false;
      const waitMs = await this.#visit(signal);
      if (signal.aborted) break;
      // Somebody may be in a hurry whenever he is answered.
      await pause(VISIT_MS, signal);
      if (this.#hurried) continue;
      const hurry = new AbortController();
      this.#hurry = () => hurry.abort();
      await pause(waitMs, AbortSignal.any([signal, hurry.signal]));
      this.#hurry = () => {};
    }
    this.#onProbed();
  }

  /** One look at the scheduler; returns how long until the next. */
  async #visit(signal: AbortSignal): Promise<number> {
    const { announceIntervalMs, probeIntervalMs } = this.#options;
    const well = (await this.#probe(signal)) && (await this.#keepKnown());
    if (signal.aborted) return 0;
    if (!well) {
      const waitMs = jitter(this.#retryMs, this.#random);
      this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
      return waitMs;
    }
    if (this.#complained) this.#say("info", "the scheduler is back");
    this.#complained = false;
    this.#retryMs = RETRY_FIRST_MS;
    if (!this.#enrolled) return probeIntervalMs;
    const untilDueMs = this.#announcedMs + announceIntervalMs - performance.now();
    return Math.max(0, Math.min(probeIntervalMs, untilDueMs));
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    try {
      await checkHealth(this.client, { timeoutMs: PROBE_MS, signal });
    } catch (error) {
      if (signal.aborted) return false;
      this.#known = undefined;
      this.#judge(false, error);
      this.#awaitConnection();
      this.#complain("the scheduler is left out", error);
      return false;
    }
    this.#watchConnection();
    this.#judge(true, undefined);
    return true;
  }

  #judge(healthy: boolean, failure: unknown): void {
    const changed = this.#healthy !== healthy;
    this.#healthy = healthy;
    this.#failure = failure;
    if (changed) this.#options.onHealth();
    this.#onProbed();
  }

  /** What this host is to be there, it is; false: that could not be had. */
  async #keepKnown(): Promise<boolean> {
    if (!this.#enrolled) {
      await this.#takeBack();
      return true;
    }
    const { announceIntervalMs } = this.#options;
    try {
      const due = performance.now() - this.#announcedMs >= announceIntervalMs;
      if (due) this.#known = this.#announce();
      await (this.#known ??= this.#announce());
      return true;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#complain("cannot announce this host", error);
      return false;
    }
  }

  async #announce(): Promise<void> {
    const { describeHost, announceIntervalMs } = this.#options;
    try {
      const host = withdrawn(await describeHost(), this.scheduler.ip);
      this.#stop.signal.throwIfAborted();
      this.#told = true;
      const interval = durationFromMs(announceIntervalMs);
      const { extension } = await this.client.announceHost(
        { host, interval },
        { timeoutMs: ANNOUNCE_MS, signal: this.#stop.signal },
      );
      this.#dialect = extension === null ? "dragonfly" : "damselfly";
      this.#announcedMs = performance.now();
    } catch (error) {
      this.#known = undefined;
      throw error;
    }
  }

  async #signOff(): Promise<void> {
    this.#stop.abort();
    this.#hurry();
    await this.#loop;
    await this.#takeBack();
  }

  /** This host is not to be found there any more. */
  async #takeBack(): Promise<void> {
    this.#known = undefined;
    if (!this.#told) return;
    this.#told = false;
    try {
      await this.client.deleteHost({ hostId: this.#options.hostId }, { timeoutMs: SIGN_OFF_MS });
    } catch (error) {
      this.#say("debug", `could not sign off: ${messageOf(error)}`);
    }
  }

  /** A lost connection is how a restart shows: no need to wait for the next question. */
  #watchConnection(): void {
    if (this.#watched) return;
    this.#watched = true;
    onceLost(this.client, () => {
      this.#watched = false;
      this.#known = undefined;
      this.#doubtSoon();
    });
  }

  /** One that cannot be reached is dialled every few seconds: it is asked again when that succeeds, however long it was away. */
  #awaitConnection(): void {
    if (this.#awaited) return;
    this.#awaited = onceReady(this.client, () => {
      this.#awaited = false;
      this.#doubtSoon();
    });
  }

  /** Of a scheduler that was restarted all daemons know at the same moment. */
  #doubtSoon(): void {
    void pause(jitter(TURN_MS, this.#random), this.#stop.signal).then(() => {
      if (!this.#stop.signal.aborted) this.doubt();
    });
  }

  #wake(): void {
    this.#hurried = true;
    this.#hurry();
  }

  #complain(what: string, error: unknown): void {
    if (!this.#complained) this.#say("warn", `${what}: ${reasonOf(error)}`);
    this.#complained = true;
  }

  #say(level: "debug" | "info" | "warn", message: string): void {
    this.#options.logger[level]({ scheduler: this.client.target }, message);
  }
}

/** Whom it is about is known. */
function reasonOf(error: unknown): string {
  return error instanceof RpcError ? `${error.code}: ${error.reason}` : messageOf(error);
}

/** A host that nobody else reaches is no parent and no seed to those whom a scheduler elsewhere would send there. */
function withdrawn(host: Host, schedulerIp: string): Host {
  if (!isLoopback(host.ip ?? "") || isLoopback(schedulerIp)) return host;
  return { ...host, type: 0, disableShared: true };
}
