import { createHash } from "node:crypto";
import {
  createSchedulerClient,
  durationFromMs,
  type Host,
  type SchedulerClient,
} from "@damselfly/rpc";
import type { TlsIdentity } from "@damselfly/transport";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { pause } from "../pause.ts";
import { RpcPeerSession } from "./rpc-peer-session.ts";
import type { PeerRegistration, PeerSession, SchedulerLink } from "./scheduler-link.ts";

/** A unary call to a scheduler, the dial included. Milliseconds. */
const CALL_MS = 5_000;
/** The last call, which nobody should have to wait for. Milliseconds. */
const SIGN_OFF_MS = 1_000;
/** How soon a failed announcement is tried again, at first and at most. Milliseconds. */
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;

export interface SchedulerClientOptions {
  readonly addresses: readonly { readonly ip: string; readonly port: number }[];
  readonly tls?: TlsIdentity;
  readonly hostId: string;
  /** This host as it is at this moment. */
  readonly describeHost: () => Promise<Host>;
  readonly announceIntervalMs: number;
  readonly logger: Logger;
}

/** A daemon's connection to its schedulers. */
export interface SchedulerConnection extends SchedulerLink, AsyncDisposable {
  /** Begins to announce this host: from now on others are sent here. */
  start(): void;
  /** Takes this host back from every scheduler: nobody is sent here any more. Downloads that run go on with the parents they have. */
  leave(): Promise<void>;
  /** Clients by preference for this task, the same at every daemon: so all peers of a task meet at one scheduler. */
  clientsFor(taskId: string): readonly SchedulerClient[];
}

/**
 * Once started, announces this host to every scheduler, again and again; an unreachable one is tried on in the background and does not keep anything
 * waiting. Disposing leaves, then disconnects.
 */
export function openSchedulerConnection(options: SchedulerClientOptions): SchedulerConnection {
  return new Connection(options);
}

class Connection implements SchedulerConnection {
  readonly #options: SchedulerClientOptions;
  readonly #announcers: readonly Announcer[];

  constructor(options: SchedulerClientOptions) {
    this.#options = options;
    const tls = options.tls === undefined ? {} : { tls: options.tls };
    this.#announcers = options.addresses.map(
      (address) => new Announcer(createSchedulerClient(address, tls), options),
    );
  }

  start(): void {
    for (const announcer of this.#announcers) announcer.start();
  }

  async leave(): Promise<void> {
    await Promise.all(this.#announcers.map((announcer) => announcer.leave()));
  }

  clientsFor(taskId: string): readonly SchedulerClient[] {
    return this.#announcersFor(taskId).map((announcer) => announcer.client);
  }

  async register(
    registration: PeerRegistration,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<PeerSession> {
    const failures: unknown[] = [];
    for (const announcer of this.#announcersFor(registration.taskId)) {
      try {
        await announcer.announced(signal);
        const onLost = (): void => announcer.forget();
        return new RpcPeerSession(announcer.client, registration, {
          hostId: this.#options.hostId,
          signal,
          onLost,
        });
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
      }
    }
    const reasons = failures.map(messageOf).join("; ");
    throw new DaemonError("ERR_SCHEDULER", `Cannot register with a scheduler: ${reasons}`, {
      cause: failures.at(-1),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#announcers.map((announcer) => announcer[Symbol.asyncDispose]()));
  }

  /** Rendezvous hashing: when one scheduler goes, only its tasks move. */
  #announcersFor(taskId: string): readonly Announcer[] {
    const weight = (announcer: Announcer): string =>
      createHash("sha256").update(`${announcer.client.target}\n${taskId}`).digest("hex");
    const weighted = this.#announcers.map((announcer) => ({
      announcer,
      weight: weight(announcer),
    }));
    return weighted
      .toSorted((a, b) => (a.weight < b.weight ? 1 : -1))
      .map(({ announcer }) => announcer);
  }
}

/** Keeps one scheduler informed that this host is there. */
class Announcer implements AsyncDisposable {
  readonly client: SchedulerClient;
  readonly #options: SchedulerClientOptions;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;
  #known: Promise<void> | undefined;
  #left: Promise<void> | undefined;
  #hurry: () => void = () => {};

  constructor(client: SchedulerClient, options: SchedulerClientOptions) {
    this.client = client;
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#announceAgainAndAgain();
  }

  /** Resolves when the scheduler knows this host. @throws {RpcError} if it cannot be told now */
  async announced(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#known ??= this.#announce();
    await this.#known;
  }

  /** The scheduler has forgotten this host, or may have (it was restarted): it is announced anew. */
  forget(): void {
    this.#known = undefined;
    this.#hurry();
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

  async #signOff(): Promise<void> {
    this.#stop.abort();
    this.#hurry();
    await this.#loop;
    if (this.#known === undefined) return;
    try {
      await this.#known;
      await this.client.deleteHost({ hostId: this.#options.hostId }, { timeoutMs: SIGN_OFF_MS });
    } catch (error) {
      const { logger } = this.#options;
      logger.debug({ scheduler: this.client.target }, `could not sign off: ${messageOf(error)}`);
    }
  }

  async #announce(): Promise<void> {
    try {
      const host = await this.#options.describeHost();
      const interval = durationFromMs(this.#options.announceIntervalMs);
      await this.client.announceHost(
        { host, interval },
        { timeoutMs: CALL_MS, signal: this.#stop.signal },
      );
    } catch (error) {
      this.#known = undefined;
      throw error;
    }
  }

  async #announceAgainAndAgain(): Promise<void> {
    const { logger, announceIntervalMs } = this.#options;
    let retryMs = RETRY_FIRST_MS;
    let complained = false;
    while (!this.#stop.signal.aborted) {
      let waitMs = announceIntervalMs;
      try {
        this.#known = this.#announce();
        await this.#known;
        if (complained) logger.info({ scheduler: this.client.target }, "the scheduler is back");
        complained = false;
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (!complained)
          logger.warn(
            { scheduler: this.client.target },
            `cannot announce this host: ${messageOf(error)}`,
          );
        complained = true;
        waitMs = retryMs;
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      }
      const hurry = new AbortController();
      this.#hurry = () => hurry.abort();
      await pause(waitMs, AbortSignal.any([this.#stop.signal, hurry.signal]));
    }
  }
}
