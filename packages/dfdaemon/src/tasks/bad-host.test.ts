import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { openStorage } from "@damselfly/storage";
import {
  clipByteRange,
  createPieceDownload,
  TransportError,
  type PieceSource,
} from "@damselfly/transport";
import { createTcpDownloader, serveTcp } from "@damselfly/transport-tcp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ContentLimits, DEFAULT_CONTENT_LIMITS } from "../data-plane/content-limits.ts";
import { InProcessDataPlane } from "../data-plane/in-process-data-plane.ts";
import { SILENT_LOGGER } from "../logger.ts";
import type { ParentChannel } from "../parents/parent-channel.ts";
import { pause } from "../pause.ts";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import { DEFAULT_REQUEST, FakeOrigin, FakeSession } from "../testing/fake-cluster.ts";
import { openTraps, type Traps } from "../testing/traps.ts";
import { TaskManager } from "./task-manager.ts";

const LOOPBACK = "127.0.0.1";
const PIECE_LENGTH = 256 * 1024;
const PIECE_COUNT = 12;
const CONTENT = randomBytes(PIECE_COUNT * PIECE_LENGTH);
const WIDTH = 4;

/** How a parent sends the bytes of a piece, from `offset` on. */
type Manner = (
  content: Uint8Array,
  offset: number,
  signal: AbortSignal,
) => AsyncIterable<Uint8Array>;

const MANNERS: Readonly<Record<string, Manner>> = {
  well: async function* (content, offset) {
    for (let at = offset; at < content.byteLength; at += 65_536)
      yield content.subarray(at, at + 65_536);
  },
  "not at all": async function* (_content, _offset, signal) {
    await sleep(2 ** 30, signal);
    yield new Uint8Array(1);
  },
  "at a crawl": async function* (content, offset, signal) {
    for (let at = offset; at < content.byteLength; at += 1_000) {
      await sleep(50, signal);
      yield content.subarray(at, at + 1_000);
    }
  },
  "half of it, and hangs up": async function* (content, offset) {
    yield content.subarray(offset, PIECE_LENGTH / 2);
    throw new TransportError("ERR_PARENT_FAILED", "enough");
  },
  wrongly: async function* (content, offset) {
    yield Buffer.from(content.subarray(offset)).fill(0);
  },
};

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await pause(Math.min(ms, 2 ** 31 - 1), signal);
  signal.throwIfAborted();
}

/** One bad parent, one good one, several tasks at once, over real sockets. */
describe("downloads that have a bad parent beside a good one", { timeout: 60_000 }, () => {
  let directory: string;
  let traps: Traps;
  let opened: AsyncDisposable[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "damselfly-bad-host-"));
    traps = await openTraps();
    opened = [traps];
  });
  afterEach(async () => {
    for (const each of opened.toReversed()) await each[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  async function serve(manner: Manner): Promise<{ readonly port: number; asked: string[] }> {
    const asked: string[] = [];
    const source: PieceSource = {
      async openPiece({ taskId, pieceNumber, range }, { signal } = {}) {
        asked.push(`${taskId} ${pieceNumber}`);
        const offset = pieceNumber * PIECE_LENGTH;
        const content = CONTENT.subarray(offset, offset + PIECE_LENGTH);
        const part = clipByteRange(range, PIECE_LENGTH);
        const stop = new AbortController();
        signal?.addEventListener("abort", () => stop.abort(signal.reason));
        return createPieceDownload({
          piece: {
            number: pieceNumber,
            offset,
            length: PIECE_LENGTH,
            digest: `crc32:${crc32(content)}`,
          },
          length: part.length,
          hostId: "the disk",
          chunks: manner(content, part.offset, stop.signal),
          stallMs: 2 ** 31 - 1,
          close: () => stop.abort(new Error("closed")),
        });
      },
    };
    const address = { ip: LOOPBACK, port: 0 };
    const server = await serveTcp({ source, address, plain: true, closeMs: 1 });
    opened.push(server);
    return { port: server.address.port, asked };
  }

  /** A daemon whose scheduler names the parents at these ports for every task. */
  async function openManager(ports: Readonly<Record<string, number>>) {
    const origin = new FakeOrigin(CONTENT);
    const storage = await openStorage({ directory });
    const dataPlane = new InProcessDataPlane({
      storage,
      origin,
      limits: new ContentLimits(DEFAULT_CONTENT_LIMITS),
      servers: [],
      downloaders: [createTcpDownloader()],
      tls: false,
    });
    const channel: ParentChannel = {
      async *syncPieces({ hostId }, { pieceNumbers }) {
        const tcp = ports[hostId]!;
        yield { kind: "address", address: { hostId, ip: LOOPBACK, ports: { tcp } } };
        for (const number of pieceNumbers) {
          const offset = number * PIECE_LENGTH;
          yield { kind: "piece", number, offset, length: PIECE_LENGTH };
        }
      },
    };
    const parents = Object.keys(ports).map((hostId): CandidateParent => {
      const digests = new Map();
      return { peerId: hostId, hostId, hostname: hostId, ip: LOOPBACK, port: 1, digests };
    });
    const manager = new TaskManager({
      dataPlane,
      origin,
      scheduler: {
        dialectOf: () => "damselfly",
        async register(registration, { signal }) {
          const session = new FakeSession(registration, signal);
          session.say({ kind: "parents", parents });
          return session;
        },
      },
      channel,
      host: { id: "me", ip: LOOPBACK, hostname: "me", seed: false },
      logger: SILENT_LOGGER,
    });
    opened.push(dataPlane, manager);
    const downloadAll = async (round: string): Promise<void> => {
      const taskIds = Array.from({ length: WIDTH }, (_, index) =>
        createHash("sha256").update(`${round} ${index}`).digest("hex"),
      );
      await Promise.all(
        taskIds.map(async (taskId) => {
          const request = { ...DEFAULT_REQUEST, taskId, pieceLength: PIECE_LENGTH };
          const { signal } = new AbortController();
          for await (const _ of manager.download(request, signal));
          const task = await storage.openTask(taskId);
          const actual = await task!.digest("sha256");
          expect(actual).toBe(`sha256:${createHash("sha256").update(CONTENT).digest("hex")}`);
        }),
      );
    };
    return { origin, downloadAll };
  }

  it.each(["not at all", "at a crawl", "half of it, and hangs up", "wrongly"])(
    "that sends pieces %s: all of them end, and it is not tried anew by each",
    async (name) => {
      const [bad, good] = [await serve(MANNERS[name]!), await serve(MANNERS["well"]!)];
      const { origin, downloadAll } = await openManager({ bad: bad.port, good: good.port });
      await downloadAll("first");
      const firstCount = bad.asked.length;
      expect(firstCount).toBeGreaterThan(0);
      // What they ask of it before anybody knows.
      expect(firstCount).toBeLessThanOrEqual(8 * WIDTH);
      await downloadAll("second");
      const secondCount = bad.asked.length - firstCount;
      // But for a piece now and then, to see whether it is well: how many that are is a matter of how long it takes.
      expect(secondCount).toBeLessThan(WIDTH);
      expect(origin.servedLength).toBe(0);
    },
  );

  it.each([
    ["takes connections and says nothing", (): number => traps.tcpPort],
    ["is not there", (): number => traps.closedPort],
  ])("that %s: all of them end", async (_, portOf) => {
    const good = await serve(MANNERS["well"]!);
    const { origin, downloadAll } = await openManager({ bad: portOf(), good: good.port });
    await downloadAll("first");
    await downloadAll("second");
    expect(good.asked.length).toBe(2 * WIDTH * PIECE_COUNT);
    expect(origin.servedLength).toBe(0);
  });
});
