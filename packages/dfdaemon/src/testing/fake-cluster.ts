/*
 * Several task managers in one process for tests of their logic: real storage, the in-memory transport, and scripted stand-ins for
 * the origin, the scheduler and the control channel between peers.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStorage, type PieceRecord, type Storage } from "@damselfly/storage";
import {
  createMemoryTransport,
  type MemoryPieceServer,
  type PieceSource,
} from "@damselfly/transport";
import { ContentLimits, DEFAULT_CONTENT_LIMITS } from "../data-plane/content-limits.ts";
import { InProcessDataPlane } from "../data-plane/in-process-data-plane.ts";
import { DaemonError } from "../errors.ts";
import { SILENT_LOGGER } from "../logger.ts";
import type { Origin, OriginBody, OriginRequest, OriginStat } from "../origins/origin.ts";
import { OriginError } from "../origins/origin-error.ts";
import type { ParentChannel, ParentEvent } from "../parents/parent-channel.ts";
import type {
  CandidateParent,
  PeerRegistration,
  PeerSession,
  ScheduleEvent,
  SchedulerDialect,
  SchedulerLink,
} from "../scheduling/scheduler-link.ts";
import type { DownloadRequest } from "../tasks/download-request.ts";
import type { FlightLimits } from "../tasks/flight-limits.ts";
import type { FlightGuard } from "../tasks/flight.ts";
import { followPieces } from "../tasks/follow-pieces.ts";
import { TaskManager, type DownloadEvent, type TaskManagerOptions } from "../tasks/task-manager.ts";

export const PIECE_LENGTH: number = 64 * 1024;
export const TASK_ID: string = createHash("sha256").update("fake-cluster").digest("hex");

/** An origin that serves one buffer, counts what it serves, and misbehaves on request. */
export class FakeOrigin implements Origin {
  content: Buffer;
  etag = '"1"';
  lastModified = "";
  /** When it says that its answers are of. */
  date = "Tue, 01 Oct 2024 10:00:00 GMT";
  /** What it says the digest of the file is. */
  digests: readonly string[] = [];
  rangeable = true;
  lengthKnown = true;
  servedLength = 0;
  statCount = 0;
  readCount = 0;
  /** Called before each body; may throw, wait, or change the origin. */
  beforeRead: (
    range: { offset: number; length: number },
    request: OriginRequest,
  ) => Promise<void> | void = () => {};
  /** The next body is cut short after so many bytes, once; then `onCut` is called. */
  cutAt: number | undefined;
  onCut: () => void = () => {};
  /** Called before each 10,000 bytes of a body, with their position in the file. */
  beforeChunk: (position: number) => Promise<void> | void = () => {};
  /** Called before each answer to a stat. */
  beforeStat: (request: OriginRequest) => Promise<void> | void = () => {};

  constructor(content: Buffer) {
    this.content = content;
  }

  async stat(request: OriginRequest): Promise<OriginStat> {
    this.statCount += 1;
    await this.beforeStat(request);
    return this.#describe();
  }

  async readRange(
    request: OriginRequest,
    range: { offset: number; length: number },
    expected: Pick<OriginStat, "etag">,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<OriginBody> {
    this.readCount += 1;
    await this.beforeRead(range, request);
    options.signal?.throwIfAborted();
    if (!this.rangeable)
      throw new OriginError("ERR_ORIGIN_NO_RANGES", "Cannot read range: the origin serves none");
    if (expected.etag !== this.etag)
      throw new OriginError("ERR_ORIGIN_CHANGED", "Cannot read range: the origin has changed");
    return this.#body(range);
  }

  async readAll(
    request: OriginRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<OriginBody> {
    this.readCount += 1;
    const range = { offset: 0, length: this.content.length };
    await this.beforeRead(range, request);
    options.signal?.throwIfAborted();
    return this.#body(range);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #body(range: { offset: number; length: number }): OriginBody {
    const { content } = this;
    const count = (length: number): void => {
      this.servedLength += length;
    };
    const cutIfDue = (length: number): void => {
      if (this.cutAt === undefined || length < this.cutAt) return;
      this.cutAt = undefined;
      this.onCut();
      throw new OriginError("ERR_ORIGIN_TRUNCATED", "Cannot read: cut");
    };
    const beforeChunk = (position: number): Promise<void> | void => this.beforeChunk(position);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let offset = 0; offset < range.length; offset += 10_000) {
        const end = Math.min(offset + 10_000, range.length);
        await beforeChunk(range.offset + offset);
        cutIfDue(offset);
        count(end - offset);
        yield content.subarray(range.offset + offset, range.offset + end);
      }
    }
    return { stat: this.#describe(), content: chunks(), async [Symbol.asyncDispose]() {} };
  }

  #describe(): OriginStat {
    return {
      contentLength: this.lengthKnown ? this.content.length : undefined,
      etag: this.etag,
      lastModified: this.lastModified,
      contentVersion: `${this.content.length}-${this.etag}${this.lastModified}`,
      rangeable: this.rangeable,
      responseHeader: { etag: this.etag, date: this.date },
      statusCode: 200,
      digests: this.digests.map((digest) => ({ digest, source: "Repr-Digest" })),
    };
  }
}

/** What a test says the scheduler does with each peer that registers. */
export type Script = (session: FakeSession) => void;

export class FakeSession implements PeerSession {
  readonly schedulerName = "fake";
  dialect: SchedulerDialect = "damselfly";
  readonly registration: PeerRegistration;
  readonly reports: string[] = [];
  /** Piece numbers by where they came from: a peer id, or `origin`. */
  readonly pieces: [number, string][] = [];
  onReschedule: () => void = () => {};
  /** Pieces that were there from the start. */
  held: number[] = [];
  readonly #queue: ScheduleEvent[] = [];
  #wake: () => void = () => {};
  #end: { readonly error?: Error } | undefined;

  constructor(registration: PeerRegistration, signal: AbortSignal) {
    this.registration = registration;
    signal.addEventListener("abort", () => this.end(), { once: true });
  }

  get events(): AsyncIterable<ScheduleEvent> {
    return this.#events();
  }

  say(event: ScheduleEvent): void {
    this.#queue.push(event);
    this.#wake();
  }

  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#wake();
  }

  holds(pieces: Iterable<PieceRecord>): void {
    this.held = [...pieces].map(({ number }) => number);
  }

  started(from: "parents" | "origin"): void {
    this.reports.push(`started from ${from}`);
  }

  pieceFinished(piece: PieceRecord, parent?: CandidateParent): void {
    this.pieces.push([piece.number, parent?.peerId ?? "origin"]);
  }

  pieceFailed(pieceNumber: number | undefined, parent: CandidateParent): void {
    this.reports.push(`piece ${pieceNumber ?? "-"} failed at ${parent.peerId}`);
  }

  originFailed(_pieceNumber: number | undefined, error: Error): void {
    this.reports.push(`origin failed: ${error.message}`);
  }

  reschedule(_exhausted: readonly CandidateParent[], description: string): void {
    this.reports.push(`reschedule: ${description}`);
    this.onReschedule();
  }

  async finish(from: "parents" | "origin"): Promise<void> {
    this.reports.push(`finished from ${from}`);
  }

  async fail(description: string): Promise<void> {
    this.reports.push(`failed: ${description}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end();
  }

  async *#events(): AsyncGenerator<ScheduleEvent, void, undefined> {
    for (;;) {
      const event = this.#queue.shift();
      if (event !== undefined) yield event;
      else if (this.#end?.error !== undefined) throw this.#end.error;
      else if (this.#end !== undefined) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

export interface FakeNode {
  readonly name: string;
  readonly manager: TaskManager;
  readonly storage: Storage;
  readonly server: MemoryPieceServer;
  readonly directory: string;
  readonly sessions: FakeSession[];
  /** As a scheduler would hand this node out. */
  readonly candidate: CandidateParent;
  readonly closed: boolean;
  download(request?: Partial<DownloadRequest>, signal?: AbortSignal): Promise<DownloadEvent[]>;
  close(): Promise<void>;
}

export interface FakeCluster extends AsyncDisposable {
  readonly origin: FakeOrigin;
  readonly nodes: Map<string, FakeNode>;
  addNode(
    name: string,
    options?: {
      readonly script?: Script | undefined;
      readonly dialect?: SchedulerDialect;
      /** Absent: no scheduler at all. */
      readonly limits?: Partial<FlightLimits>;
      readonly verifyOnHit?: "stat" | "full";
      readonly makeRoom?: TaskManagerOptions["makeRoom"];
      readonly directory?: string;
      readonly verifyDigest?: boolean;
      readonly contentLimits?: ContentLimits;
      readonly guard?: FlightGuard;
      readonly onDigestChecked?: TaskManagerOptions["onDigestChecked"];
      /** Wraps what the node serves, to make it lie. */
      readonly corrupt?: (source: PieceSource) => PieceSource;
    },
  ): Promise<FakeNode>;
}

export async function openFakeCluster(contentLength: number): Promise<FakeCluster> {
  const root = await mkdtemp(join(tmpdir(), "damselfly-fake-cluster-"));
  const network = createMemoryTransport({ protocol: "grpc" });
  const origin = new FakeOrigin(randomBytes(contentLength));
  const nodes = new Map<string, FakeNode>();

  /** Stands for SyncPieces: asks the other node's manager directly. */
  const channel: ParentChannel = {
    async *syncPieces(parent, query): AsyncGenerator<ParentEvent, void, undefined> {
      const node = [...nodes.values()].find(({ candidate }) => candidate.peerId === parent.peerId);
      const task = node?.closed === false ? await node.storage.openTask(query.taskId) : undefined;
      if (node === undefined || task === undefined)
        throw new DaemonError("ERR_PARENT", `Cannot learn what ${parent.hostId} has: not found`);
      yield { kind: "address", address: { ...node.server.parent, hostId: parent.hostId } };
      for await (const { piece } of followPieces(
        task,
        query.pieceNumbers,
        node.manager.endOf(query.taskId),
        query.signal,
      )) {
        yield { kind: "piece", number: piece.number, offset: piece.offset, length: piece.length };
      }
    },
  };

  return {
    origin,
    nodes,
    async addNode(name, options = {}) {
      const directory = options.directory ?? join(root, name);
      const storage = await openStorage({ directory });
      const server = network.servePieces({ source: options.corrupt?.(storage) ?? storage });
      const dataPlane = new InProcessDataPlane({
        limits: options.contentLimits ?? new ContentLimits(DEFAULT_CONTENT_LIMITS),
        storage,
        origin,
        servers: [server],
        downloaders: [network.createDownloader()],
        tls: false,
      });
      const sessions: FakeSession[] = [];
      const { script } = options;
      const scheduler: SchedulerLink = {
        dialectOf: () => options.dialect ?? "damselfly",
        async register(registration, { signal }) {
          const session = new FakeSession(registration, signal);
          session.dialect = options.dialect ?? "damselfly";
          sessions.push(session);
          script?.(session);
          return session;
        },
      };
      const manager = new TaskManager({
        dataPlane,
        origin,
        ...(script === undefined ? {} : { scheduler }),
        channel,
        host: { id: `127.0.0.1-${name}`, ip: "127.0.0.1", hostname: name, seed: false },
        limits: { schedulerLostMs: 50, idleMs: 20_000, ...options.limits },
        ...(options.verifyOnHit && { verifyOnHit: options.verifyOnHit }),
        ...(options.makeRoom && { makeRoom: options.makeRoom }),
        ...(options.verifyDigest === undefined ? {} : { verifyDigest: options.verifyDigest }),
        ...(options.guard && { guard: options.guard }),
        ...(options.onDigestChecked && { onDigestChecked: options.onDigestChecked }),
        logger: SILENT_LOGGER,
      });
      let closed = false;
      const node: FakeNode = {
        name,
        manager,
        storage,
        server,
        directory,
        sessions,
        candidate: {
          peerId: `peer-${name}`,
          hostId: `127.0.0.1-${name}`,
          hostname: name,
          ip: "127.0.0.1",
          port: 1,
          digests: new Map(),
        },
        get closed() {
          return closed;
        },
        async download(request = {}, signal = new AbortController().signal) {
          const events: DownloadEvent[] = [];
          for await (const event of manager.download({ ...DEFAULT_REQUEST, ...request }, signal))
            events.push(event);
          return events;
        },
        async close() {
          if (closed) return;
          closed = true;
          await manager[Symbol.asyncDispose]();
          await dataPlane[Symbol.asyncDispose]();
        },
      };
      nodes.set(name, node);
      return node;
    },
    async [Symbol.asyncDispose]() {
      for (const node of nodes.values()) await node.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** The content of a node's copy, as it would be read by a client. */
export async function contentOf(node: FakeNode): Promise<Buffer> {
  const task = await node.storage.openTask(TASK_ID);
  if (task === undefined) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  for await (const chunk of task.read()) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

export const DEFAULT_REQUEST: DownloadRequest = {
  taskId: TASK_ID,
  origin: { url: "http://origin.test/file", header: {} },
  tag: "",
  application: "",
  priority: "LEVEL6",
  filteredQueryParams: [],
  pieceLength: PIECE_LENGTH,
  needBackToSource: false,
  disableBackToSource: false,
  schedulingPolicy: "AUTO",
  metadataOnly: false,
  revalidate: false,
};
