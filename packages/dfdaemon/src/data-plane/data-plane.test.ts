import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, open, rm, utimes } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createIdentity } from "@damselfly/quinn";
import {
  openStorage,
  type Storage,
  type StorageOptions,
  type StoredTask,
} from "@damselfly/storage";
import {
  clipByteRange,
  createPieceDownload,
  TransportError,
  type ParentAddress,
  type PieceDownload,
  type PieceRequest,
  type PieceSource,
  type TlsIdentity,
} from "@damselfly/transport";
import { createGrpcDownloader } from "@damselfly/transport-grpc";
import { serveTcp } from "@damselfly/transport-tcp";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAuthority, issueCertificate, type Authority } from "../certs/certificates.ts";
import { loadConfig } from "../config/load-config.ts";
import type { StorageConfig } from "../config/config.ts";
import { codeOf } from "../code-of.ts";
import { SILENT_LOGGER } from "../logger.ts";
import { openHttpOrigin } from "../origins/http-origin.ts";
import { openOriginServer, type OriginServer } from "../testing/origin-server.ts";
import { ContentLimits, DEFAULT_CONTENT_LIMITS, type ContentLimitsInit } from "./content-limits.ts";
import type { PieceDigests } from "../piece-digests.ts";
import type { WantedPiece } from "./assert-announced.ts";
import type { DataPlane, PieceHedging } from "./data-plane.ts";
import { InProcessDataPlane } from "./in-process-data-plane.ts";
import { KnownPeers } from "./known-peers.ts";
import { openTransports } from "./open-transports.ts";
import type { Supplier } from "./relay/supplier.ts";
import { openRemoteDataPlane } from "./processes/control/open-remote-data-plane.ts";
import type { WorkerInit } from "./processes/protocol.ts";
import {
  createFakeWorkerProcess,
  type FakeWorkerProcess,
} from "./processes/testing/fake-worker-process.ts";

const TASK_ID = createHash("sha256").update("data-plane").digest("hex");
const PIECE_LENGTH = 4 * 2 ** 20;
const CONTENT = randomBytes(2 * PIECE_LENGTH + 1000);
const LOOPBACK = "127.0.0.1";

interface Node {
  readonly dataPlane: DataPlane;
  readonly storage: Storage;
  readonly address: ParentAddress;
  /** Of the processes that were started for it. */
  readonly processes: FakeWorkerProcess[];
  readonly sentLength: () => number;
  readonly events: string[];
}

let directory: string;
let authority: Authority;
let origin: OriginServer;
let opened: AsyncDisposable[];
/** Called with each process before it is told anything. */
let onSpawn: (process: FakeWorkerProcess) => void;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-data-plane-"));
  authority = await createAuthority();
  opened = [];
  onSpawn = () => {};
  origin = await openOriginServer();
  opened.push(origin);
});
afterEach(async () => {
  for (const resource of opened.toReversed()) await resource[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

type Kind = "in this process" | "in one process" | "in two processes";

async function openNode(
  kind: Kind,
  name: string,
  settings: Partial<StorageConfig["server"]> = {},
  limitsInit: ContentLimitsInit = DEFAULT_CONTENT_LIMITS,
  storageOptions: Pick<StorageOptions, "pieceDigest" | "quotaBytes"> = {},
): Promise<Node> {
  const pair = await issueCertificate(authority, { hostname: name, ips: [LOOPBACK] });
  const tls: TlsIdentity = { caCert: authority.cert, ...pair };
  const { config } = await loadConfig({ path: "/dev/null" });
  const server = config.storage.server;
  const ports = { grpcPort: 0, tcpPort: 0, quic: { ...server.quic, port: 0, quinnPort: 0 } };
  const common = {
    config: { ...server, ...ports, ...settings },
    bindIp: LOOPBACK,
    serverTls: tls,
    clientTls: tls,
    plainPeers: false,
    announceMs: 60_000,
    logger: SILENT_LOGGER,
  };
  const processes: FakeWorkerProcess[] = [];
  const events: string[] = [];
  let sentLength = 0;
  let forget: (path: string) => void = () => {};
  const storage = await openStorage({
    directory: join(directory, name),
    ...storageOptions,
    onForget: (path) => forget(path),
  });
  let dataPlane: DataPlane;
  if (kind === "in this process") {
    const peers = new KnownPeers();
    const http = openHttpOrigin({ userAgent: "test" });
    opened.push(http);
    const { privateKey, publicKey } = createIdentity();
    const limits = new ContentLimits(limitsInit);
    const transports = await openTransports({
      ...common,
      source: storage,
      limits,
      quinn: { privateKey, isKnownPeer: (key) => peers.has(key) },
    });
    dataPlane = new InProcessDataPlane({
      storage,
      origin: http,
      ...transports,
      quinn: { publicKey, peers },
      limits,
      tls: true,
    });
  } else {
    const remote = await openRemoteDataPlane({
      ...common,
      storage,
      count: kind === "in one process" ? 1 : 2,
      spawn: () => {
        const process = createFakeWorkerProcess();
        processes.push(process);
        onSpawn(process);
        return process;
      },
      origin: { userAgent: "test", requestHeader: {}, insecure: false },
      limits: limitsInit,
      tls: true,
      observer: {
        originAsked: ({ method }) => void events.push(`asked ${method}`),
        originAnswered: ({ method }) => void events.push(`answered ${method}`),
        pieceUploadStarted: () => void events.push("upload started"),
        pieceUploadEnded: (length) => void events.push(`upload ended, ${length} bytes`),
        sent: (length) => {
          sentLength += length;
        },
        dataPlaneReplaced: (end) => void events.push(`replaced: ${end}`),
        quicLeftOut: () => void events.push("QUIC left out"),
      },
    });
    forget = (path) => remote.forget(path);
    dataPlane = remote;
  }
  opened.push(dataPlane);
  return {
    dataPlane,
    storage,
    address: addressOf(dataPlane, name),
    processes,
    events,
    sentLength: () => sentLength,
  };
}

function addressOf({ offers }: DataPlane, name: string): ParentAddress {
  const portOf = (protocol: string): number =>
    offers.find((offer) => offer.protocol === protocol)?.ports[0] ?? 0;
  const ports = { tcp: portOf("tcp"), grpc: portOf("grpc"), quic: [portOf("quic")] };
  return { hostId: `${LOOPBACK}-${name}`, ip: LOOPBACK, hostname: name, ports };
}

async function createTask(
  storage: Storage,
  lengths: { readonly contentLength: number; readonly pieceLength: number } = {
    contentLength: CONTENT.byteLength,
    pieceLength: PIECE_LENGTH,
  },
): Promise<StoredTask> {
  return await storage.createTask({
    taskId: TASK_ID,
    url: `${origin.url}/file`,
    ...lengths,
    contentVersion: "1",
    etag: '"1"',
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 1,
  });
}

async function fill(task: StoredTask): Promise<void> {
  for (let number = 0; number < task.pieceCount; number += 1) {
    const { offset, length } = task.bounds(number);
    async function* content(): AsyncGenerator<Uint8Array> {
      yield CONTENT.subarray(offset, offset + length);
    }
    await task.writePiece({ number, trafficType: "BACK_TO_SOURCE", parentId: "" }, content());
  }
}

async function contentOf(task: StoredTask): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of task.read()) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Serves all pieces over TCP, as far as a test lets it. */
interface HeldParent {
  readonly supplier: Supplier;
  readonly address: ParentAddress;
  /** Requests: piece and first byte. */
  readonly asked: string[];
  /** Bytes of a piece that are sent; the rest is held back. Undefined: not even its announcement comes. */
  sendsTo: number | undefined;
  /** Here it hangs up. */
  breaksAt: number;
  /** What it says the piece is; default is what it is. */
  digest: string | undefined;
  content: Buffer;
}

async function openHeldParent(
  name: string,
  id: number,
  { plain }: { readonly plain: boolean } = { plain: false },
): Promise<HeldParent> {
  const pair = await issueCertificate(authority, { hostname: name, ips: [LOOPBACK] });
  const asked: string[] = [];
  const source: PieceSource = {
    async openPiece({ pieceNumber, range }: PieceRequest, { signal } = {}) {
      asked.push(`${pieceNumber} from ${range?.offset ?? 0}`);
      const offset = pieceNumber * PIECE_LENGTH;
      const content = held.content.subarray(offset, offset + PIECE_LENGTH);
      const part = clipByteRange(range, content.byteLength);
      if (held.sendsTo === undefined) await never(signal);
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let at = part.offset; at < part.offset + part.length;) {
          if (at >= held.breaksAt) throw new TransportError("ERR_PARENT_FAILED", "it hangs up");
          if (at >= (held.sendsTo ?? 0)) await never(signal);
          const stop = Math.min(at + 65_536, held.breaksAt, held.sendsTo ?? 0, content.byteLength);
          yield content.subarray(at, stop);
          at = stop;
        }
      }
      const digest = held.digest ?? `crc32:${crc32(content)}`;
      return createPieceDownload({
        piece: { number: pieceNumber, offset, length: content.byteLength, digest },
        length: part.length,
        hostId: "the disk",
        chunks: chunks(),
        stallMs: 2 ** 31 - 1,
        signal,
        close() {},
      });
    },
  };
  const server = await serveTcp({
    source,
    address: { ip: LOOPBACK, port: 0 },
    tls: { caCert: authority.cert, ...pair },
    plain,
    logger: SILENT_LOGGER,
  });
  // Not gracefully: what is held back would be waited for.
  opened.push({ [Symbol.asyncDispose]: async () => void server[Symbol.asyncDispose]() });
  const hostId = `${LOOPBACK}-${name}`;
  const ports = { tcp: server.address.port };
  const address: ParentAddress = { hostId, ip: LOOPBACK, hostname: name, ports, plain };
  const held: HeldParent = {
    supplier: { id, kind: "parent", address },
    address,
    asked,
    sendsTo: Infinity,
    breaksAt: Infinity,
    digest: undefined,
    content: CONTENT,
  };
  return held;
}

async function never(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Has every process that serves QUIC end when it is asked for this piece, as a library would that cannot stand it. */
function endWithQuic(process: FakeWorkerProcess, pieceNumber: number): void {
  const { channel } = process;
  const send = channel.send.bind(channel);
  let withoutQuic = false;
  channel.send = (message) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is looked at
    const { name, params } = message as {
      readonly name?: string;
      readonly params?: { readonly transports?: WorkerInit["transports"]; wanted?: WantedPiece };
    };
    if (name === "start") withoutQuic = params?.transports?.withoutQuic === true;
    if (params?.wanted?.number === pieceNumber && !withoutQuic) process.die("SIGABRT");
    else send(message);
  };
}

/** A process that is told how to start when the returned function is called. */
function holdStart({ channel }: FakeWorkerProcess): () => void {
  const send = channel.send.bind(channel);
  const held: unknown[] = [];
  channel.send = (message) => void held.push(message);
  return () => {
    channel.send = send;
    for (const message of held) send(message);
  };
}

/** Writes down what is told of a piece, and offers what a test says. */
function watchHedges(answers: Readonly<Record<number, Supplier>> = {}) {
  const told: string[] = [];
  const offers: ((supplier: Supplier) => void)[] = [];
  const state = { waitedMs: 0, doubled: 0, seenDoubled: 0 };
  const hedging: PieceHedging = {
    began: (offer) => {
      told.push("began");
      offers.push(offer);
    },
    lost: (nextId) => void told.push(`lost, ${nextId} next`),
    passedOver: (id) => void told.push(`${id} passed over`),
    tookOver: (id, { offset, doubled }) => {
      told.push(`${id} from ${offset}`);
      state.doubled += doubled;
    },
    failed: (id, error) => {
      told.push(`${id} failed: ${codeOf(error)}`);
      return answers[id];
    },
    waited: (ms) => {
      state.waitedMs += ms;
    },
    doubled: (length) => {
      state.seenDoubled += length;
    },
  };
  return { hedging, told, state, offer: (supplier: Supplier) => offers.at(-1)!(supplier) };
}

const request = (): { url: string; header: Record<string, string> } => ({
  url: `${origin.url}/file`,
  header: {},
});
const FROM_ORIGIN = { trafficType: "BACK_TO_SOURCE" as const, parentId: "" };

describe.each<Kind>(["in this process", "in one process", "in two processes"])(
  "a data plane %s",
  (kind) => {
    it.each(["tcp", "grpc", "quic"] as const)(
      "fetches pieces over %s, tells of bytes as they come, and records them",
      async (protocol) => {
        const parent = await openNode(kind, "parent");
        await fill(await createTask(parent.storage));
        const child = await openNode(kind, "child", { protocol });
        const task = await createTask(child.storage);
        let received = 0;
        const fetch = (pieceNumber: number) =>
          child.dataPlane.fetchPiece({
            task,
            pieceNumber,
            parent: parent.address,
            signal: new AbortController().signal,
            onBytes: (length) => {
              received += length;
            },
          });
        const pieces = await Promise.all([fetch(0), fetch(1), fetch(2)]);
        expect(pieces.map(({ parentId }) => parentId)).toEqual(
          Array.from({ length: 3 }, () => parent.address.hostId),
        );
        expect((await contentOf(task)).equals(CONTENT)).toBe(true);
        expect(received).toBe(CONTENT.byteLength);
        const { protocols } = await child.dataPlane.transportReport();
        expect(protocols.find((each) => each.protocol === protocol)?.byteCount).toBe(received);
      },
    );

    it("refuses what is not the piece that the reader of the origin saw", async () => {
      const parent = await openNode(kind, "parent");
      await fill(await createTask(parent.storage));
      const child = await openNode(kind, "child");
      const task = await createTask(child.storage);
      const fetching = child.dataPlane.fetchPiece({
        task,
        pieceNumber: 0,
        parent: parent.address,
        expected: { digest: "crc32:1" },
        signal: new AbortController().signal,
      });
      await expect(fetching).rejects.toMatchObject({
        name: "TransportError",
        code: "ERR_PROTOCOL",
      });
      expect(task.pieces.size).toBe(0);
    });

    it.each(["tcp", "grpc", "quic"] as const)(
      "is told strong digests by a parent that has them, over %s, and holds it to what the reader of the origin saw",
      async (protocol) => {
        const openStrict = (name: string) =>
          openNode(kind, name, { protocol }, DEFAULT_CONTENT_LIMITS, { pieceDigest: "sha256" });
        const parent = await openStrict("parent");
        await fill(await createTask(parent.storage));
        const child = await openStrict("child");
        const task = await createTask(child.storage);
        const { digest, strongDigest } = (await parent.storage.openTask(TASK_ID))!.pieces.get(0)!;
        expect(strongDigest).toMatch(/^sha256:/);
        const fetch = (expected?: PieceDigests) =>
          child.dataPlane.fetchPiece({
            task,
            pieceNumber: 0,
            parent: parent.address,
            ...(expected && { expected }),
            signal: new AbortController().signal,
          });
        const other = { digest, strongDigest: `sha256:${"0".repeat(64)}` };
        await expect(fetch(other)).rejects.toMatchObject({ code: "ERR_PROTOCOL" });
        expect(task.pieces.size).toBe(0);
        expect(await fetch({ digest, ...(strongDigest && { strongDigest }) })).toMatchObject({
          digest,
          strongDigest,
        });
      },
    );

    it("passes on why a parent cannot be used", async () => {
      const child = await openNode(kind, "child");
      const task = await createTask(child.storage);
      const parent = { hostId: "nobody", ip: LOOPBACK, ports: { tcp: 1 } };
      const signal = new AbortController().signal;
      await expect(
        child.dataPlane.fetchPiece({ task, pieceNumber: 0, parent, signal }),
      ).rejects.toMatchObject({ name: "TransportError", code: "ERR_PARENT_UNREACHABLE" });
    });

    it("stops a fetch in the middle when it is not wanted any more, and frees everything", async () => {
      const parent = await openNode(kind, "parent");
      const parentTask = await createTask(parent.storage);
      const child = await openNode(kind, "child");
      const task = await createTask(child.storage);
      // A piece that never gets whole: the child waits for its announcement.
      let giveUp: () => void = () => {};
      const givenUp = new Promise<void>((resolve) => (giveUp = resolve));
      async function* content(): AsyncGenerator<Uint8Array> {
        yield CONTENT.subarray(0, 1000);
        await givenUp;
        throw new Error("given up");
      }
      const writing = parentTask.writePiece({ number: 0, ...FROM_ORIGIN }, content());
      writing.catch(() => {});
      const controller = new AbortController();
      const reason = new Error("nobody waits");
      const fetching = child.dataPlane.fetchPiece({
        task,
        pieceNumber: 0,
        parent: parent.address,
        signal: controller.signal,
      });
      const failed = expect(fetching).rejects.toBe(reason);
      setImmediate(() => controller.abort(reason));
      await failed;
      giveUp();
      await expect(writing).rejects.toThrow("given up");
      expect(parentTask.uploadingCount).toBe(0);
    });

    it("serves no piece that has rotted, and withdraws it", async () => {
      const parent = await openNode(kind, "parent");
      const parentTask = await createTask(parent.storage);
      await fill(parentTask);
      const child = await openNode(kind, "child");
      const task = await createTask(child.storage);
      // In place, and with the time of its last change as it was.
      const path = join(directory, "parent", "damselfly", "content", TASK_ID.slice(0, 3), TASK_ID);
      const file = await open(path, "r+");
      const before = await file.stat();
      await file.write(Uint8Array.of(~CONTENT[10]! & 0xff), 0, 1, 10);
      await file.close();
      await utimes(path, before.atime, before.mtime);
      const fetching = child.dataPlane.fetchPiece({
        task,
        pieceNumber: 0,
        parent: parent.address,
        signal: new AbortController().signal,
      });
      await expect(fetching).rejects.toMatchObject({ name: "TransportError" });
      await expect.poll(() => parentTask.pieces.has(0)).toBe(false);
      await expect.poll(() => parentTask.uploadingCount).toBe(0);
    });

    it("serves no more at once than there is memory for, all its processes together", async () => {
      // Three eighths for what is served, half of it for one address: six pieces of twice 512 KiB.
      const limits = { ...DEFAULT_CONTENT_LIMITS, memoryLimit: 32 * 2 ** 20 };
      const parent = await openNode(kind, "parent", {}, limits);
      // So long that what is not read does not fit into any window.
      const length = 32 * 2 ** 20;
      const task = await createTask(parent.storage, { contentLength: length, pieceLength: length });
      async function* content(): AsyncGenerator<Uint8Array> {
        for (let sent = 0; sent < length; sent += PIECE_LENGTH) yield Buffer.alloc(PIECE_LENGTH);
      }
      await task.writePiece({ number: 0, ...FROM_ORIGIN }, content());
      const pair = await issueCertificate(authority, { hostname: "child", ips: [LOOPBACK] });
      const tls: TlsIdentity = { caCert: authority.cert, ...pair };
      const wanted = { taskId: TASK_ID, pieceNumber: 0 };
      /** On a connection of its own: they go to the processes in turns. */
      const ask = async (): Promise<PieceDownload | "busy"> => {
        const child = createGrpcDownloader({ tls });
        opened.push(child);
        return await child.downloadPiece(parent.address, wanted).catch((error: unknown) => {
          expect(error).toMatchObject({ code: "ERR_PARENT_BUSY" });
          return "busy" as const;
        });
      };
      const served: PieceDownload[] = [];
      for (let count = 0; count < 16; count += 1) {
        const answer = await ask();
        if (count < 6) expect(answer).not.toBe("busy");
        else expect(answer).toBe("busy");
        if (answer !== "busy") served.push(answer);
      }
      for (const download of served) {
        let received = 0;
        for await (const { byteLength } of download.content) received += byteLength;
        expect(received).toBe(length);
      }
      await expect.poll(ask, { timeout: 10_000 }).not.toBe("busy");
    });

    it("reads a range of an origin into a piece", async () => {
      origin.set("/file", { content: CONTENT, etag: '"1"' });
      const node = await openNode(kind, "node");
      const task = await createTask(node.storage);
      const bounds = task.bounds(1);
      let received = 0;
      const body = await node.dataPlane.readOrigin({
        request: request(),
        range: {
          ...bounds,
          expected: { etag: '"1"', lastModified: "", contentLength: CONTENT.byteLength },
        },
        onBytes: (length) => {
          received += length;
        },
      });
      expect(body.stat.etag).toBe('"1"');
      await task.writePiece({ number: 1, ...FROM_ORIGIN }, body.all().content);
      await body[Symbol.asyncDispose]();
      expect(received).toBe(bounds.length);
      expect([...task.pieces.keys()]).toEqual([1]);
    });

    it("tells for how long the bytes of an origin have been waited for", async () => {
      let release: () => void = () => {};
      const released = new Promise<void>((resolve) => (release = resolve));
      const beforeChunk = (sent: number) => (sent >= 100_000 ? released : undefined);
      origin.set("/file", { content: CONTENT, etag: '"1"', beforeChunk });
      const node = await openNode(kind, "node");
      const task = await createTask(node.storage);
      let waitedMs = 0;
      await using body = await node.dataPlane.readOrigin({
        request: request(),
        onWaited: (ms) => {
          waitedMs += ms;
        },
      });
      const { content } = body.next(task.bounds(0).length);
      const writing = task.writePiece({ number: 0, ...FROM_ORIGIN }, content);
      await expect.poll(() => waitedMs, { timeout: 10_000 }).toBeGreaterThan(1_000);
      release();
      await writing;
    });

    it("reads answers to their ends, so that one connection does for one range after the other", async () => {
      origin.set("/file", { content: CONTENT, etag: '"1"' });
      const node = await openNode(kind === "in two processes" ? "in one process" : kind, "node");
      const task = await createTask(node.storage);
      for (let number = 0; number < task.pieceCount; number += 1) {
        const expected = { etag: '"1"', lastModified: "", contentLength: CONTENT.byteLength };
        const range = { ...task.bounds(number), expected };
        await using body = await node.dataPlane.readOrigin({ request: request(), range });
        await task.writePiece({ number, ...FROM_ORIGIN }, body.all().content);
      }
      expect((await contentOf(task)).equals(CONTENT)).toBe(true);
      expect(origin.connectionCount).toBe(1);
    });

    it("reads pieces to their ends, so that one connection does for one after the other", async () => {
      const parent = await openNode(kind, "parent");
      await fill(await createTask(parent.storage));
      const child = await openNode(kind, "child", { protocol: "tcp" });
      const task = await createTask(child.storage);
      const signal = new AbortController().signal;
      for (let pieceNumber = 0; pieceNumber < task.pieceCount; pieceNumber += 1)
        await child.dataPlane.fetchPiece({ task, pieceNumber, parent: parent.address, signal });
      const { tcp } = await parent.dataPlane.transportReport();
      expect(tcp?.server.acceptedCount).toBe(1);
    });

    it("passes on what an origin answers", async () => {
      origin.set("/file", { status: 404, reason: "Not Found" });
      const node = await openNode(kind, "node");
      await expect(node.dataPlane.readOrigin({ request: request() })).rejects.toMatchObject({
        name: "OriginError",
        code: "ERR_ORIGIN_STATUS",
        statusCode: 404,
        reason: "Not Found",
      });
    });

    it("cuts a whole body into pieces, and reads past those that nobody wants", async () => {
      origin.set("/file", { content: CONTENT, etag: '"1"' });
      const node = await openNode(kind, "node");
      const task = await createTask(node.storage);
      const body = await node.dataPlane.readOrigin({ request: request() });
      for (let number = 0; number < task.pieceCount; number += 1) {
        const slice = body.next(task.bounds(number).length);
        if (number !== 1) await task.writePiece({ number, ...FROM_ORIGIN }, slice.content);
        await slice.rest();
      }
      await body.end();
      await body[Symbol.asyncDispose]();
      expect([...task.pieces.keys()]).toEqual([0, 2]);
      const last = task.bounds(2);
      const chunks: Buffer[] = [];
      for await (const chunk of task.read(last)) chunks.push(Buffer.from(chunk));
      expect(Buffer.concat(chunks).equals(CONTENT.subarray(last.offset))).toBe(true);
    });

    it("says so when a body ends too early, and records no part of a piece", async () => {
      origin.set("/file", { content: CONTENT, etag: '"1"', cutAfterBytes: PIECE_LENGTH + 5 });
      const node = await openNode(kind, "node");
      const task = await createTask(node.storage);
      await using body = await node.dataPlane.readOrigin({ request: request() });
      await task.writePiece({ number: 0, ...FROM_ORIGIN }, body.next(PIECE_LENGTH).content);
      const second = task.writePiece(
        { number: 1, ...FROM_ORIGIN },
        body.next(PIECE_LENGTH).content,
      );
      await expect(second).rejects.toMatchObject({ name: "OriginError" });
      expect([...task.pieces.keys()]).toEqual([0]);
    });

    describe("when one supplier of a piece will not do", () => {
      const HALF = PIECE_LENGTH / 2;
      let child: Node;
      let task: StoredTask;
      let one: HeldParent;
      let two: HeldParent;

      beforeEach(async () => {
        child = await openNode(kind, "child", { protocol: "tcp" });
        task = await createTask(child.storage);
        one = await openHeldParent("one", 0);
        two = await openHeldParent("two", 1);
      });

      const fetch = (
        { hedging }: { readonly hedging: PieceHedging },
        options: { readonly expected?: PieceDigests; readonly signal?: AbortSignal } = {},
      ) => {
        let length = 0;
        const { signal = new AbortController().signal, ...others } = options;
        const onBytes = (count: number): void => void (length += count);
        const common = { task, pieceNumber: 1, parent: one.address, signal, ...others };
        const record = child.dataPlane.fetchPiece({ ...common, onBytes, hedging });
        record.catch(() => {}); // looked at later
        return { record, length: () => length };
      };
      const assertPiece = async (): Promise<void> => {
        const chunks: Buffer[] = [];
        for await (const chunk of task.read(task.bounds(1))) chunks.push(Buffer.from(chunk));
        const { offset, length } = task.bounds(1);
        expect(Buffer.concat(chunks).equals(CONTENT.subarray(offset, offset + length))).toBe(true);
      };

      it("goes on from the byte it has with another parent", async () => {
        one.sendsTo = HALF;
        const watch = watchHedges();
        const { record, length } = fetch(watch);
        await expect.poll(length).toBe(HALF);
        await expect.poll(() => watch.state.waitedMs).toBeGreaterThan(0);
        watch.offer(two.supplier);
        // It counts as that one's who announced it.
        expect(await record).toMatchObject({ parentId: one.address.hostId, length: PIECE_LENGTH });
        expect(two.asked).toEqual([`1 from ${HALF}`]);
        expect(watch.told).toEqual(["began", "0 from 0", `1 from ${HALF}`]);
        expect(watch.state.doubled).toBe(0);
        expect(length()).toBe(PIECE_LENGTH);
        await assertPiece();
      });

      it("goes on with one of Dragonfly's, which begins anew, and is seen to", async () => {
        const plain = await openHeldParent("plain", 1, { plain: true });
        one.sendsTo = HALF;
        const watch = watchHedges();
        const { record, length } = fetch(watch);
        await expect.poll(length).toBe(HALF);
        watch.offer(plain.supplier);
        expect(await record).toMatchObject({ length: PIECE_LENGTH });
        expect(plain.asked).toEqual(["1 from 0"]);
        expect(watch.told).toEqual(["began", "0 from 0", `1 from ${HALF}`]);
        expect(watch.state).toMatchObject({ doubled: HALF, seenDoubled: HALF });
        expect(length()).toBe(PIECE_LENGTH);
        await assertPiece();
      });

      it("takes the whole from whoever announces it first", async () => {
        one.sendsTo = undefined;
        const watch = watchHedges();
        const { record } = fetch(watch);
        await expect.poll(() => one.asked).toHaveLength(1);
        await expect.poll(() => watch.state.waitedMs).toBeGreaterThan(0);
        watch.offer(two.supplier);
        expect(await record).toMatchObject({ parentId: two.address.hostId });
        expect(two.asked).toEqual(["1 from 0"]);
        expect(watch.told).toEqual(["began", "1 from 0"]);
        await assertPiece();
      });

      it("goes on from the byte it has at the origin", async () => {
        origin.set("/file", { content: CONTENT, etag: '"1"' });
        one.sendsTo = HALF;
        const watch = watchHedges();
        const { record, length } = fetch(watch);
        await expect.poll(length).toBe(HALF);
        const expected = { etag: '"1"', lastModified: "", contentLength: CONTENT.byteLength };
        watch.offer({ id: 7, kind: "origin", request: request(), expected });
        expect(await record).toMatchObject({
          parentId: one.address.hostId,
          trafficType: "REMOTE_PEER",
        });
        expect(watch.told).toEqual(["began", "0 from 0", `7 from ${HALF}`]);
        expect(origin.bodyBytes("/file")).toBe(HALF);
        await assertPiece();
      });

      it("takes the whole from the origin where no parent announces it", async () => {
        origin.set("/file", { content: CONTENT, etag: '"1"' });
        one.sendsTo = undefined;
        const watch = watchHedges();
        const { record } = fetch(watch);
        await expect.poll(() => one.asked).toHaveLength(1);
        const expected = { etag: '"1"', lastModified: "", contentLength: CONTENT.byteLength };
        watch.offer({ id: 7, kind: "origin", request: request(), expected });
        expect(await record).toMatchObject({ parentId: "", trafficType: "BACK_TO_SOURCE" });
        await assertPiece();
      });

      it("mixes no two versions of the file", async () => {
        origin.set("/file", { content: randomBytes(CONTENT.byteLength), etag: '"2"' });
        one.sendsTo = HALF;
        const watch = watchHedges();
        const { record, length } = fetch(watch);
        await expect.poll(length).toBe(HALF);
        const expected = { etag: '"1"', lastModified: "", contentLength: CONTENT.byteLength };
        watch.offer({ id: 7, kind: "origin", request: request(), expected });
        await expect.poll(() => watch.told).toContain("7 failed: ERR_ORIGIN_CHANGED");
        watch.offer(two.supplier);
        await record;
        await assertPiece();
      });

      it("asks whoever is named when one breaks off", async () => {
        one.breaksAt = HALF;
        const watch = watchHedges({ 0: two.supplier });
        const { record } = fetch(watch);
        await record;
        expect(two.asked).toEqual([`1 from ${HALF}`]);
        expect(watch.told).toEqual([
          "began",
          "0 from 0",
          "0 failed: ERR_PIECE_TRUNCATED",
          `1 from ${HALF}`,
        ]);
        await assertPiece();
      });

      it("fails as the last one did when nobody else is named", async () => {
        one.breaksAt = HALF;
        const watch = watchHedges();
        const { record } = fetch(watch);
        await expect(record).rejects.toMatchObject({
          name: "TransportError",
          code: "ERR_PIECE_TRUNCATED",
        });
        expect(watch.told).toEqual(["began", "0 from 0", "0 failed: ERR_PIECE_TRUNCATED"]);
        expect(task.pieces.size).toBe(0);
      });

      it("does not go on with somebody who says that the piece is another one", async () => {
        one.sendsTo = HALF;
        two.digest = "crc32:1";
        const watch = watchHedges();
        const { record, length } = fetch(watch);
        await expect.poll(length).toBe(HALF);
        watch.offer(two.supplier);
        await expect.poll(() => watch.told).toContain("1 failed: ERR_SUPPLIERS_DIFFER");
        const three = await openHeldParent("three", 2);
        watch.offer(three.supplier);
        await record;
        await assertPiece();
      });

      it("records nothing of a piece that has come right from one and wrong from another", async () => {
        one.sendsTo = HALF;
        two.digest = `crc32:${crc32(CONTENT.subarray(PIECE_LENGTH, 2 * PIECE_LENGTH))}`;
        two.content = randomBytes(CONTENT.byteLength);
        const watch = watchHedges();
        const { record, length } = fetch(watch);
        await expect.poll(length).toBe(HALF);
        watch.offer(two.supplier);
        await expect(record).rejects.toMatchObject({ code: "ERR_DIGEST_MISMATCH" });
        expect(task.pieces.size).toBe(0);
      });

      it("lets go of everybody when the piece is not wanted any more", async () => {
        one.sendsTo = HALF;
        two.sendsTo = undefined;
        const stop = new AbortController();
        const watch = watchHedges();
        const { record, length } = fetch(watch, { signal: stop.signal });
        await expect.poll(length).toBe(HALF);
        watch.offer(two.supplier);
        await expect.poll(() => two.asked).toHaveLength(1);
        const reason = new Error("nobody waits");
        stop.abort(reason);
        await expect(record).rejects.toBe(reason);
      });
    });

    it("ends a body of unknown length when the quota is full", async () => {
      origin.set("/file", { content: CONTENT, etag: '"1"', chunked: true });
      const node = await openNode(kind, "node", {}, DEFAULT_CONTENT_LIMITS, {
        quotaBytes: CONTENT.byteLength - 1,
      });
      const spooling = node.dataPlane.spoolOrigin({ request: request() });
      await expect(spooling).rejects.toMatchObject({
        code: "ERR_NO_SPACE",
        message: expect.stringContaining("the quota of"),
      });
      expect((await node.storage.usage()).bytes).toBe(0);
    });

    it("spools a body of unknown length, and reads it from there", async () => {
      origin.set("/file", { content: CONTENT, etag: '"1"', chunked: true });
      const node = await openNode(kind, "node");
      const { stat, spool } = await node.dataPlane.spoolOrigin({ request: request() });
      expect(stat.contentLength).toBeUndefined();
      expect(spool.length).toBe(CONTENT.byteLength);
      const task = await createTask(node.storage);
      const stream = await node.dataPlane.openSpool(spool);
      for (let number = 0; number < task.pieceCount; number += 1) {
        const { content } = stream.next(task.bounds(number).length);
        await task.writePiece({ number, ...FROM_ORIGIN }, content);
      }
      await stream[Symbol.asyncDispose]();
      await spool[Symbol.asyncDispose]();
      expect((await contentOf(task)).equals(CONTENT)).toBe(true);
    });
  },
);

describe("a data plane in processes", () => {
  it("counts what is asked and served, wherever it happens", async () => {
    origin.set("/file", { content: CONTENT, etag: '"1"' });
    const parent = await openNode("in one process", "parent");
    const parentTask = await createTask(parent.storage);
    await fill(parentTask);
    const child = await openNode("in one process", "child", { protocol: "tcp" });
    const task = await createTask(child.storage);
    const signal = new AbortController().signal;
    await child.dataPlane.fetchPiece({ task, pieceNumber: 2, parent: parent.address, signal });
    await expect.poll(() => parent.events).toEqual(["upload started", "upload ended, 1000 bytes"]);
    await expect.poll(parent.sentLength).toBe(1000);
    await (await child.dataPlane.readOrigin({ request: request() }))[Symbol.asyncDispose]();
    expect(child.events).toEqual(["asked GET", "answered GET"]);
  });

  it("replaces a process that ends, and asks again for what it was fetching", async () => {
    const parent = await openNode("in one process", "parent");
    await fill(await createTask(parent.storage));
    const child = await openNode("in one process", "child");
    const task = await createTask(child.storage);
    const signal = new AbortController().signal;
    const fetch = (pieceNumber: number) =>
      child.dataPlane.fetchPiece({ task, pieceNumber, parent: parent.address, signal });
    const fetching = [fetch(0), fetch(1)];
    setImmediate(() => child.processes[0]!.die("SIGABRT"));
    await Promise.all(fetching);
    await fetch(2);
    expect((await contentOf(task)).equals(CONTENT)).toBe(true);
    expect(child.processes).toHaveLength(2);
    expect(child.events).toContain("replaced: was ended by SIGABRT");
  });

  it("begins anew with whoever a piece came from when its process has ended, and is offered others anew", async () => {
    const child = await openNode("in one process", "child", { protocol: "tcp" });
    const task = await createTask(child.storage);
    const one = await openHeldParent("one", 0);
    const two = await openHeldParent("two", 1);
    const three = await openHeldParent("three", 2);
    one.sendsTo = 100_000;
    two.sendsTo = 200_000;
    const watch = watchHedges();
    let received = 0;
    const lost = (nextId: number): void => {
      received = 0;
      watch.hedging.lost(nextId);
    };
    const record = child.dataPlane.fetchPiece({
      task,
      pieceNumber: 0,
      parent: one.address,
      signal: new AbortController().signal,
      onBytes: (length) => (received += length),
      hedging: { ...watch.hedging, lost },
    });
    await expect.poll(() => received).toBe(100_000);
    watch.offer(two.supplier);
    await expect.poll(() => watch.told).toContain("1 from 100000");
    child.processes[0]!.die("SIGKILL");
    await expect.poll(() => watch.told).toContain("1 from 0");
    await expect.poll(() => received).toBe(200_000);
    watch.offer(three.supplier);
    await record;
    expect(watch.told.slice(3)).toEqual(["lost, 1 next", "began", "1 from 0", "2 from 200000"]);
    expect([one.asked, two.asked, three.asked]).toEqual([
      ["0 from 0"],
      ["0 from 100000", "0 from 0"],
      ["0 from 200000"],
    ]);
  });

  it("replaces a process that hangs", async () => {
    const child = await openNode("in one process", "child");
    child.processes[0]!.hang();
    await expect
      .poll(() => child.events, { timeout: 20_000 })
      .toEqual([expect.stringMatching(/^replaced: hung: nothing was heard of it/)]);
    expect(child.processes).toHaveLength(2);
  });

  it("keeps its ports when a process is replaced, and who connects meanwhile waits", async () => {
    const parent = await openNode("in one process", "parent");
    await fill(await createTask(parent.storage));
    const before = parent.dataPlane.offers;
    const child = await openNode("in one process", "child", { protocol: "tcp" });
    const task = await createTask(child.storage);
    parent.processes[0]!.die("SIGSEGV");
    const signal = new AbortController().signal;
    await child.dataPlane.fetchPiece({ task, pieceNumber: 0, parent: parent.address, signal });
    expect(parent.dataPlane.offers).toEqual(before);
  });

  it.each(["in one process", "in two processes"] as const)(
    "says what it serves while everything is being replaced, and serves who begins then (%s)",
    async (kind) => {
      const parent = await openNode(kind, "parent");
      await fill(await createTask(parent.storage));
      const child = await openNode("in this process", "child", { protocol: "tcp" });
      const task = await createTask(child.storage);
      const { offers, quinn } = parent.dataPlane;
      const starts: (() => void)[] = [];
      onSpawn = (process) => void starts.push(holdStart(process));
      const ended = [...parent.processes];
      for (const process of ended) process.die("SIGKILL");
      await expect.poll(() => starts.length, { timeout: 20_000 }).toBe(ended.length);
      expect(parent.dataPlane.offers).toEqual(offers);
      expect(parent.dataPlane.quinn?.ports).toEqual(quinn?.ports);
      expect(parent.dataPlane.quinn?.publicKey).toEqual(quinn?.publicKey);
      const fetching = child.dataPlane.fetchPiece({
        task,
        pieceNumber: 0,
        parent: addressOf(parent.dataPlane, "parent"),
        signal: new AbortController().signal,
      });
      for (const start of starts) start();
      expect((await fetching).length).toBe(PIECE_LENGTH);
    },
  );

  it.each(["in one process", "in two processes"] as const)(
    "leaves QUIC out when a process ends again and again (%s)",
    async (kind) => {
      const node = await openNode(kind, "node");
      const protocols = (): string[] => node.dataPlane.offers.map(({ protocol }) => protocol);
      const replacedCount = (): number =>
        node.events.filter((event) => event.startsWith("replaced")).length;
      expect(protocols()).toContain("quic");
      for (let count = 1; count <= 3; count += 1) {
        node.processes.at(-1)!.die("SIGABRT");
        await expect.poll(replacedCount, { timeout: 10_000 }).toBeGreaterThanOrEqual(count);
      }
      await expect.poll(protocols, { timeout: 10_000 }).toEqual(["tcp", "grpc"]);
      expect(node.dataPlane.quinn).toBeUndefined();
      expect(node.events.filter((event) => event === "QUIC left out")).toHaveLength(1);
    },
  );

  it("leaves QUIC out of all processes when they have ended by one piece, so that it comes after all", async () => {
    const parent = await openNode("in this process", "parent");
    await fill(await createTask(parent.storage));
    onSpawn = (process) => endWithQuic(process, 1);
    const child = await openNode("in two processes", "child");
    const task = await createTask(child.storage);
    const signal = new AbortController().signal;
    const fetch = (pieceNumber: number) =>
      child.dataPlane.fetchPiece({ task, pieceNumber, parent: parent.address, signal });
    await Promise.all([fetch(0), fetch(1), fetch(2)]);
    expect((await contentOf(task)).equals(CONTENT)).toBe(true);
    expect(child.events.filter((event) => event === "QUIC left out")).toHaveLength(1);
    const protocols = (): string[] => child.dataPlane.offers.map(({ protocol }) => protocol);
    await expect.poll(protocols).toEqual(["tcp", "grpc"]);
    expect(child.dataPlane.quinn).toBeUndefined();
  });

  it("leaves nothing of a relayed child behind that takes nothing more", async () => {
    const { dataPlane, processes } = await openNode("in one process", "parent");
    const [process] = processes;
    const handOver = process!.handOver.bind(process);
    const handedOver = new Promise<void>((resolve) => {
      process!.handOver = (note, socket) => {
        handOver(note, socket);
        resolve();
      };
    });
    const server = createServer({ allowHalfOpen: true });
    await once(server.listen(0, LOOPBACK), "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new TypeError("a port is wanted");
    const child = connect({ host: LOOPBACK, port: address.port, allowHalfOpen: true });
    try {
      const [socket]: Socket[] = await once(server, "connection");
      // More than the system takes for somebody who does not read.
      socket!.write(Buffer.alloc(32 * 2 ** 20));
      dataPlane.acceptForeign(socket!);
      await handedOver;
      opened.splice(opened.indexOf(dataPlane), 1);
      await dataPlane[Symbol.asyncDispose]();
      expect(socket!.destroyed).toBe(true);
    } finally {
      child.destroy();
      server.close();
    }
  });

  it("gives back pieces that a process was serving when it ended", async () => {
    const parent = await openNode("in one process", "parent");
    const parentTask = await createTask(parent.storage);
    await fill(parentTask);
    const [process] = parent.processes;
    const child = await openNode("in one process", "child", { protocol: "tcp" });
    const task = await createTask(child.storage);
    const controller = new AbortController();
    const fetching = child.dataPlane.fetchPiece({
      task,
      pieceNumber: 0,
      parent: parent.address,
      signal: controller.signal,
    });
    fetching.catch(() => {});
    await expect.poll(() => parent.events).toContain("upload started");
    process!.die("SIGKILL");
    await expect.poll(() => parentTask.uploadingCount).toBe(0);
    controller.abort(new Error("enough"));
    await fetching.catch(() => {});
  });

  it("does not start when a process cannot, and says why", async () => {
    const first = await openNode("in one process", "first");
    const port = first.address.ports.tcp!;
    await expect(openNode("in one process", "second", { tcpPort: port })).rejects.toMatchObject({
      code: "ERR_LISTEN",
      message: expect.stringContaining("storage.server.tcpPort"),
    });
    const { quic } = first.address.ports;
    const { config } = await loadConfig({ path: "/dev/null" });
    await expect(
      openNode("in one process", "third", {
        quic: { ...config.storage.server.quic, port: quic![0]!, quinnPort: 0 },
      }),
    ).rejects.toMatchObject({
      code: "ERR_LISTEN",
      message: expect.stringContaining("storage.server.quic.port"),
    });
  });
});
