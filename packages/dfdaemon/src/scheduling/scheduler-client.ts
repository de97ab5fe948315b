import type { Host, SchedulerClient } from "@damselfly/rpc";
import type { Tls } from "@damselfly/transport";
import { DaemonError } from "../errors.ts";
import { jitter } from "../jitter.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { pause } from "../pause.ts";
import { HashRing } from "./hash-ring.ts";
import { RpcPeerSession } from "./rpc-peer-session.ts";
import type {
  PeerRegistration,
  PeerSession,
  SchedulerDialect,
  SchedulerLink,
} from "./scheduler-link.ts";
import { SchedulerMember } from "./scheduler-member.ts";
import { EMPTY_BLOCK_LIST, type BlockableDownload, type BlockList } from "./block-list.ts";
import type { KnownScheduler, SchedulerListing, SchedulerSource } from "./scheduler-source.ts";

/** How long after the start a download may wait until it is known which schedulers there are. Milliseconds. */
const FIRST_LOOK_MS = 5_000;
/** How soon a source of schedulers that failed is asked again, at first. Milliseconds. */
const RETRY_FIRST_MS = 1_000;

export interface SchedulerClientOptions {
  readonly source: SchedulerSource;
  /** Between two looks at the source, and at the health of each scheduler. */
  readonly refreshIntervalMs: number;
  readonly tls?: Tls;
  readonly hostId: string;
  /** Another one each time. */
  readonly newPeerId: () => string;
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
  /**
   * Clients by preference for this task, the same at every daemon: so all peers of a task meet at one scheduler. Only of healthy schedulers,
   * as long as there is one.
   */
  clientsFor(taskId: string): readonly SchedulerClient[];
  /** Whether the cluster does not want this downloaded. */
  isBlocked(download: BlockableDownload): boolean;
}

/**
 * Once started, keeps this host known to every healthy scheduler; one that comes, goes or falls ill is noticed in the background and does
 * not keep anything waiting. Disposing leaves, then disconnects; the source is disposed with it.
 */
export function openSchedulerConnection(options: SchedulerClientOptions): SchedulerConnection {
  return new Connection(options);
}

class Connection implements SchedulerConnection {
  readonly #options: SchedulerClientOptions;
  readonly #stop = new AbortController();
  /** In the order of the source. */
  #members: readonly SchedulerMember[] = [];
  #blockLists: ReadonlyMap<number, BlockList> = new Map();
  /** The cluster whose schedulers are on the ring, or were last. */
  #clusterId: number | undefined;
  #ring = new HashRing<SchedulerMember>();
  #ringNames = "";
  #loop: Promise<void> | undefined;
  #looked: () => void = () => {};
  readonly #firstLook: Promise<void>;
  readonly #registered = new WeakSet<PeerRegistration>();
  #sourceFailure: string | undefined;
  /** Members that are not listed any more, on their way out. */
  readonly #leaving = new Set<Promise<void>>();
  #left: Promise<void> | undefined;

  constructor(options: SchedulerClientOptions) {
    this.#options = options;
    this.#firstLook = new Promise((resolve) => {
      this.#looked = resolve;
    });
  }

  start(): void {
    if (this.#stop.signal.aborted || this.#loop !== undefined) return;
    this.#loop = this.#refreshAgainAndAgain();
    void this.#endFirstLook();
  }

  leave(): Promise<void> {
    this.#left ??= this.#leaveAll();
    return this.#left;
  }

  clientsFor(taskId: string): readonly SchedulerClient[] {
    const healthy = this.#ring.order(taskId);
    return (healthy.length > 0 ? healthy : this.#members).map(({ client }) => client);
  }

  isBlocked(download: BlockableDownload): boolean {
    const clusterId = this.#clusterId ?? this.#members[0]?.scheduler.clusterId ?? 0;
    return (this.#blockLists.get(clusterId) ?? EMPTY_BLOCK_LIST).blocks(download);
  }

  dialectOf(taskId: string): SchedulerDialect | undefined {
    return this.#ring.order(taskId)[0]?.dialect;
  }

  async register(
    registration: PeerRegistration,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<PeerSession> {
    this.start();
    await this.#haveLooked(signal);
    const failures: unknown[] = [];
    for (const member of this.#ring.order(registration.taskId)) {
      try {
        await member.announced(signal);
        const onLost = (): void => member.doubt();
        return new RpcPeerSession(member.client, this.#renamed(registration), {
          hostId: this.#options.hostId,
          dialect: member.dialect ?? "dragonfly",
          signal,
          onLost,
        });
      } catch (error) {
        signal.throwIfAborted();
        member.doubt();
        failures.push(error);
      }
    }
    const reasons = failures.length > 0 ? failures.map(messageOf).join("; ") : this.#whyNobody();
    throw new DaemonError("ERR_SCHEDULER", `Cannot register with a scheduler: ${reasons}`, {
      cause: failures.at(-1),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
    await Promise.all(this.#members.map((member) => member[Symbol.asyncDispose]()));
    await this.#options.source[Symbol.asyncDispose]();
  }

  async #leaveAll(): Promise<void> {
    this.#stop.abort();
    this.#looked();
    await this.#loop;
    await Promise.all(this.#members.map((member) => member.leave()));
    await Promise.all(this.#leaving);
  }

  /** A peer that registers again does so under another id: Dragonfly's scheduler does not let the old one in, nor forget it. */
  #renamed(registration: PeerRegistration): PeerRegistration {
    if (this.#registered.has(registration))
      return { ...registration, peerId: this.#options.newPeerId() };
    this.#registered.add(registration);
    return registration;
  }

  /** Whoever has not answered by then is not waited for any longer. */
  async #endFirstLook(): Promise<void> {
    const looked = new AbortController();
    void this.#firstLook.then(() => looked.abort());
    await pause(FIRST_LOOK_MS, AbortSignal.any([this.#stop.signal, looked.signal]));
    this.#looked();
  }

  /** Resolves when it is known which schedulers there are and which are healthy, or when that takes too long. */
  async #haveLooked(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    let onAbort: () => void = () => {};
    const aborted = new Promise<void>((resolve) => {
      onAbort = resolve;
      signal.addEventListener("abort", onAbort, { once: true });
    });
    await Promise.race([this.#firstLook, aborted]);
    signal.removeEventListener("abort", onAbort);
    signal.throwIfAborted();
  }

  async #refreshAgainAndAgain(): Promise<void> {
    const { source, refreshIntervalMs, logger } = this.#options;
    const { signal } = this.#stop;
    let retryMs = RETRY_FIRST_MS;
    while (!signal.aborted) {
      let waitMs = refreshIntervalMs;
      try {
        const listed = await source.list(signal);
        if (signal.aborted) return;
        this.#reconcile(listed);
        if (this.#sourceFailure !== undefined)
          logger.info({ source: source.name }, `${source.name} can be read again`);
        this.#sourceFailure = undefined;
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (signal.aborted) return;
        if (this.#sourceFailure === undefined)
          logger.warn({ source: source.name }, `cannot find schedulers: ${messageOf(error)}`);
        this.#sourceFailure = messageOf(error);
        waitMs = Math.min(jitter(retryMs), refreshIntervalMs);
        retryMs *= 2;
      }
      void Promise.all(this.#members.map(({ probed }) => probed)).then(this.#looked);
      await pause(waitMs, signal);
    }
  }

  /** Takes up who is new, and lets go of who is not listed any more. */
  #reconcile({ schedulers, blockLists = new Map() }: SchedulerListing): void {
    this.#blockLists = blockLists;
    const before = new Map(this.#members.map((member) => [keyOf(member.scheduler), member]));
    this.#members = schedulers.map((scheduler) => {
      const key = keyOf(scheduler);
      const member = before.get(key) ?? this.#take(scheduler);
      before.delete(key);
      return member;
    });
    for (const gone of before.values()) {
      const leaving = gone[Symbol.asyncDispose]().finally(() => this.#leaving.delete(leaving));
      this.#leaving.add(leaving);
    }
    this.#placeOnRing();
  }

  #take(scheduler: KnownScheduler): SchedulerMember {
    const { tls, hostId, describeHost, announceIntervalMs, refreshIntervalMs, logger } =
      this.#options;
    return new SchedulerMember(scheduler, {
      ...(tls === undefined ? {} : { tls }),
      hostId,
      describeHost,
      announceIntervalMs,
      probeIntervalMs: refreshIntervalMs,
      onHealth: () => this.#placeOnRing(),
      logger,
    });
  }

  /** On the ring are the healthy ones of one cluster: that of the first healthy one, as Dragonfly's daemons choose it. */
  #placeOnRing(): void {
    const healthy = this.#members.filter((member) => member.healthy === true);
    this.#clusterId = healthy[0]?.scheduler.clusterId ?? this.#clusterId;
    const placed = healthy
      .filter(({ scheduler }) => scheduler.clusterId === this.#clusterId)
      // Of two with one name the ring keeps the last.
      .toSorted((a, b) => a.scheduler.id - b.scheduler.id);
    for (const member of this.#members) member.enroll(placed.includes(member));
    const names = placed.map(({ scheduler }) => keyOf(scheduler)).join(", ");
    if (names === this.#ringNames) return;
    this.#ringNames = names;
    this.#ring = new HashRing(placed.map((member) => [member.scheduler.name, member]));
    if (names !== "")
      this.#options.logger.info(
        { schedulers: placed.map(({ client }) => client.target) },
        `schedulers in use: ${placed.map(({ client }) => client.target).join(", ")}`,
      );
    // Of a single one the member has told it.
    else if (this.#members.length !== 1)
      this.#options.logger.warn({}, `no scheduler is of use: ${this.#whyNobody()}`);
  }

  #whyNobody(): string {
    if (this.#members.length === 0)
      return this.#sourceFailure ?? `${this.#options.source.name} names none`;
    return this.#members.map(({ client, failure }) => `${client.target} (${failure})`).join(", ");
  }
}

function keyOf({ name, ip, port, id, clusterId }: KnownScheduler): string {
  return `${name} ${ip} ${port} ${id} ${clusterId}`;
}
