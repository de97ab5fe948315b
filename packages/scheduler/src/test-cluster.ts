import {
  type AnnounceHostRequest__Output,
  type AnnouncePeerRequest__Output,
  type Download,
  type Download__Output,
  type Host as HostMessage,
  type Host__Output,
  loadService,
} from "@damselfly/rpc";
import type { SchedulerError } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Peer, PeerVoice } from "./peer.ts";
import { DEFAULT_SCHEDULER_CONFIG, type SchedulerConfig } from "./scheduler-config.ts";
import type { SchedulerLimits } from "./scheduler-limits.ts";
import { Scheduling } from "./scheduling.ts";
import type { PieceFacts } from "./task.ts";

/** What a fake peer was told, in order. */
export type Told =
  | {
      readonly kind: "parents";
      readonly parents: readonly string[];
      readonly digests: readonly PieceFacts[];
    }
  | { readonly kind: "origin" | "empty" | "metadata" | "end" }
  | { readonly kind: "refused"; readonly error: SchedulerError };

/** A peer's end of the conversation. */
export class FakePeer implements PeerVoice {
  readonly told: Told[] = [];
  /** Set by `TestCluster.register`. */
  peer!: Peer;
  onTold: (told: Told) => void = () => {};

  parents(parents: readonly Peer[], digests: readonly PieceFacts[]): void {
    this.#hear({ kind: "parents", parents: parents.map(({ id }) => id), digests });
  }

  origin(): void {
    this.#hear({ kind: "origin" });
  }

  empty(): void {
    this.#hear({ kind: "empty" });
  }

  metadataOnly(): void {
    this.#hear({ kind: "metadata" });
  }

  refuse(error: SchedulerError): void {
    this.#hear({ kind: "refused", error });
  }

  end(): void {
    this.#hear({ kind: "end" });
  }

  #hear(told: Told): void {
    this.told.push(told);
    this.onTold(told);
  }

  /** The kinds of everything it was told. */
  get kinds(): string[] {
    return this.told.map(({ kind }) => kind);
  }

  /** Of its last message that named any. */
  get lastParents(): readonly string[] {
    const last = this.told.findLast((told) => told.kind === "parents");
    return last?.kind === "parents" ? last.parents : [];
  }

  /** Digests that it was told, by piece; of several the last. */
  get digests(): Record<number, string> {
    const digests: Record<number, string> = {};
    for (const told of this.told)
      if (told.kind === "parents")
        for (const { number, digest } of told.digests) digests[number] = digest;
    return digests;
  }

  get refusal(): SchedulerError | undefined {
    const last = this.told.findLast((told) => told.kind === "refused");
    return last?.kind === "refused" ? last.error : undefined;
  }
}

/** A `Scheduling` with a clock that stands still until told, and hosts and peers to taste. */
export class TestCluster {
  nowMs = 1_000_000;
  readonly config: SchedulerConfig;
  readonly scheduling: Scheduling;
  /** Ids of the seeds that were asked. */
  readonly seedsAsked: string[] = [];
  readonly seedsCancelled: string[] = [];
  /** Ids of the seeds that were asked what they have. */
  readonly inquiries: string[] = [];
  readonly log: string[] = [];
  /** False: too many are being asked already. */
  canAskSeeds = true;

  constructor(
    config: Partial<SchedulerConfig> = {},
    random: () => number = pseudoRandom(1),
    limits: Partial<SchedulerLimits> = {},
  ) {
    this.config = { ...DEFAULT_SCHEDULER_CONFIG, ...config };
    const note = (_: object, message: string): void => void this.log.push(message);
    this.scheduling = new Scheduling({
      config: this.config,
      limits,
      now: () => this.nowMs,
      random,
      askSeed: (seed) => {
        if (!this.canAskSeeds) return undefined;
        this.seedsAsked.push(seed.id);
        return () => void this.seedsCancelled.push(seed.id);
      },
      inquireSeed: (seed) => {
        if (this.canAskSeeds) this.inquiries.push(seed.id);
        return this.canAskSeeds;
      },
      logger: { debug: note, info: note, warn: note },
    });
  }

  /** Lets time pass, with all its ticks. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + this.config.tickMs);
      this.scheduling.tick();
    }
  }

  host(name: string, facts: HostMessage = {}): Host {
    return this.scheduling.announceHost(hostFacts(name, facts), { intervalMs: 3_600_000 });
  }

  seed(name: string): Host {
    return this.host(name, { type: 1 });
  }

  /** Registers peer `name` of host `name`, which it announces if it must. */
  register(
    name: string,
    options: {
      readonly download?: Download;
      readonly host?: string;
      readonly contentVersion?: string;
      readonly pushes?: boolean;
      readonly task?: string;
      readonly fake?: FakePeer;
      readonly address?: string;
      readonly onTold?: (told: Told) => void;
    } = {},
  ): FakePeer {
    const hostId = options.host ?? name;
    if (![...this.scheduling.hosts].some(({ id }) => id === hostId)) this.host(hostId);
    const fake = options.fake ?? new FakePeer();
    if (options.onTold !== undefined) fake.onTold = options.onTold;
    fake.peer = this.scheduling.register(
      {
        hostId,
        peerId: name,
        taskId: options.task ?? "task",
        download: downloadFacts(options.download),
        takesPushes: options.pushes ?? true,
        address: options.address ?? "",
        // Ours say always which version they have, Dragonfly's never.
        contentVersion: options.contentVersion ?? (options.pushes === false ? "" : "1"),
      },
      fake,
    );
    return fake;
  }

  /** Registers a peer of a host that has not announced itself, as Dragonfly's may. */
  registerGuest(hostId: string): FakePeer {
    const fake = new FakePeer();
    const download = downloadFacts();
    const ids = { hostId, peerId: hostId, taskId: "task" };
    fake.peer = this.scheduling.register({ ...ids, download, takesPushes: false }, fake);
    return fake;
  }

  /** Registers a peer that starts right away with whatever it is told. */
  join(name: string, options?: Parameters<TestCluster["register"]>[1]): FakePeer {
    const fake = this.register(name, options);
    this.obey(fake);
    return fake;
  }

  /** Starts a peer on what it was last told. */
  obey(fake: FakePeer): void {
    const { kinds } = fake;
    if (kinds.includes("origin")) this.scheduling.originStarted(fake.peer);
    else if (kinds.includes("parents")) this.scheduling.started(fake.peer);
  }

  /** A piece arrives from the origin. */
  originPiece(fake: FakePeer, number: number, digest: string = `crc32:${number}`): void {
    this.scheduling.originPieceFinished(fake.peer, {
      number,
      offset: number * 4,
      length: 4,
      digest,
    });
  }
}

/** As it would come off the wire, defaults and all. */
export function hostFacts(name: string, facts: HostMessage = {}): Host__Output {
  const host = {
    id: name,
    hostname: name,
    ip: "127.0.0.1",
    port: 4000,
    downloadPort: 4000,
    ...facts,
  };
  const request = overTheWire<AnnounceHostRequest__Output>("announceHost", { host });
  if (request.host === null) throw new Error("no host");
  return request.host;
}

/** As it would come off the wire; a task of ten pieces of 4 MiB unless said otherwise. */
export function downloadFacts(download: Download = {}): Download__Output {
  const facts = {
    url: "http://origin/file",
    actualContentLength: 10 * 4 * 1024 * 1024,
    actualPieceLength: 4 * 1024 * 1024,
    actualPieceCount: 10,
    ...download,
  };
  const request = overTheWire<AnnouncePeerRequest__Output>("announcePeer", {
    registerPeerRequest: { download: facts },
  });
  const result = request.registerPeerRequest?.download;
  if (result === undefined || result === null) throw new Error("no download");
  return result;
}

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- saves every caller a cast
function overTheWire<T extends object>(method: string, message: object): T {
  const loaded = loadService("scheduler.v2.Scheduler").methods.get(method);
  if (loaded === undefined) throw new Error(`no method ${method}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types are generated from the same files
  return loaded.requestDeserialize(loaded.requestSerialize(message)) as T;
}

/** mulberry32: good enough to shuffle, and the same every time. */
export function pseudoRandom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
