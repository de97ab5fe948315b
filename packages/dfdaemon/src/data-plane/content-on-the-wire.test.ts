import { once } from "node:events";
import { connect } from "node:net";
import { setImmediate } from "node:timers/promises";
import { FakeClock } from "@damselfly/limits/testing";
import { createIdentity } from "@damselfly/quinn";
import type { ParentAddress, PieceDownload, PieceRequest } from "@damselfly/transport";
import {
  codeOf,
  createGate,
  readPiece,
  SyntheticSource,
  TASK_ID,
} from "@damselfly/transport/conformance";
import { encodePacket, PacketDecoder, Tag } from "@damselfly/vortex";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadConfig } from "../config/load-config.ts";
import { SILENT_LOGGER } from "../logger.ts";
import { openHttpOrigin } from "../origins/http-origin.ts";
import { openOriginServer } from "../testing/origin-server.ts";
import { ContentLimits, DEFAULT_CONTENT_LIMITS, type ContentLimitsInit } from "./content-limits.ts";
import { openTransports, type Transports } from "./open-transports.ts";

const MIB = 1024 * 1024;
const IP = "127.0.0.1";
const PROTOCOLS = ["tcp", "grpc", "quic"] as const;
type Protocol = (typeof PROTOCOLS)[number];

let clock: FakeClock;
let source: SyntheticSource;
let opened: AsyncDisposable[];

beforeEach(() => {
  clock = new FakeClock();
  source = new SyntheticSource();
  opened = [];
});
afterEach(async () => {
  for (const each of opened.toReversed()) await each[Symbol.asyncDispose]();
});

interface Node {
  readonly limits: ContentLimits;
  readonly tcpPort: number;
  /** Asks this very node, over its own sockets. */
  readonly ask: (protocol: Protocol, request: PieceRequest) => Promise<PieceDownload>;
}

async function openNode(init: Partial<ContentLimitsInit>): Promise<Node> {
  const limits = new ContentLimits({ ...DEFAULT_CONTENT_LIMITS, ...init }, clock);
  const { config } = await loadConfig({ path: "/dev/null" });
  const { server } = config.storage;
  const { privateKey } = createIdentity();
  const transports = await openTransports({
    config: {
      ...server,
      grpcPort: 0,
      tcpPort: 0,
      quic: { ...server.quic, port: 0, quinnPort: 0 },
    },
    source,
    bindIp: IP,
    serverTls: undefined,
    clientTls: undefined,
    plainPeers: true,
    announceMs: 60_000,
    quinn: { privateKey, isKnownPeer: () => false },
    limits,
    logger: SILENT_LOGGER,
  });
  opened.push(...ownedBy(transports));
  const portOf = (protocol: Protocol): number =>
    transports.servers.find((each) => each.protocol === protocol)?.address.port ?? 0;
  const parent: ParentAddress = {
    hostId: `${IP}-node`,
    ip: IP,
    ports: { tcp: portOf("tcp"), grpc: portOf("grpc"), quic: [portOf("quic")] },
  };
  return {
    limits,
    tcpPort: portOf("tcp"),
    ask: async (protocol, request) => {
      const downloader = transports.downloaders.find((each) => each.protocol === protocol);
      if (downloader === undefined) throw new Error(`there is no ${protocol} here`);
      const download = await downloader.downloadPiece(parent, request);
      opened.push(download);
      return download;
    },
  };
}

/** As a Dragonfly child asks, from an address of its own. @returns why it gets nothing, or that it does */
async function askFrom(localAddress: string, port: number): Promise<string> {
  const socket = connect({ host: IP, port, localAddress });
  opened.push({ [Symbol.asyncDispose]: async () => void socket.destroy() });
  await once(socket, "connect");
  const ids = { taskId: TASK_ID, pieceNumber: 0 };
  socket.write(encodePacket({ kind: "request", id: 1, tag: Tag.DownloadPiece, ...ids }));
  const decoder = new PacketDecoder();
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    const packet = chunk instanceof Uint8Array ? decoder.push(chunk)?.packet : undefined;
    if (packet !== undefined) return packet.kind === "error" ? packet.message : "served";
  }
  return "closed";
}

function ownedBy({ servers, quinnServer, downloaders }: Transports): AsyncDisposable[] {
  return [...servers, ...(quinnServer === undefined ? [] : [quinnServer]), ...downloaders];
}

describe.each(PROTOCOLS)("a node asked over %s", (protocol) => {
  it("serves as many pieces as there is memory for, answers more as busy, and serves on when there is room", async () => {
    // Three eighths of it are for what is served, half of those for one address: six chunks of 512 KiB, twice each.
    const { limits, ask } = await openNode({ memoryLimit: 32 * MIB });
    const held = createGate();
    const long = source.add(0, { length: MIB, pauseAt: 0, pause: () => held.opened });
    const readings: Promise<number>[] = [];
    for (let count = 0; count < 6; count += 1) readings.push(ask(protocol, long).then(readPiece));
    await source.until(() => source.openCount === 6, "there is no memory left");
    expect(limits.serving.usedLength).toBe(6 * MIB);
    for (let count = 0; count < 100; count += 1)
      expect(await codeOf(ask(protocol, long))).toBe("ERR_PARENT_BUSY");
    expect(source.requestCount).toBe(6); // none of them was opened
    expect(limits.serving.usedLength).toBe(6 * MIB);
    held.open();
    expect(await Promise.all(readings)).toEqual(readings.map(() => MIB));
    await source.untilFree();
    expect(limits.serving.usedLength).toBe(0);
    expect(await readPiece(await ask(protocol, long))).toBe(MIB);
  });

  it("fetches no more pieces at once than there is memory for, and all of them in the end", async () => {
    // A quarter of it is for what comes: two pieces, and what is collected of each before it is written.
    const { limits, ask } = await openNode({ memoryLimit: 4 * 6 * MIB });
    const request = source.add(0, { length: MIB });
    let count = 0;
    let countMax = 0;
    const fetch = async (): Promise<number> => {
      const { signal } = new AbortController();
      await using incoming = await limits.openPiece(MIB, signal, async () => {
        count += 1;
        countMax = Math.max(countMax, count);
        return await ask(protocol, request);
      });
      let received = 0;
      for await (const { byteLength } of incoming.content) received += byteLength;
      count -= 1;
      return received;
    };
    const fetches = Array.from({ length: 50 }, fetch);
    expect(new Set(await Promise.all(fetches))).toEqual(new Set([MIB]));
    expect(countMax).toBe(2);
  });
});

it("A node serves as many pieces to all addresses together as there is memory for, and more when there is room", async () => {
  // Twelve chunks of 512 KiB, twice each: three addresses with four.
  const { limits, tcpPort } = await openNode({ memoryLimit: 32 * MIB });
  const held = createGate();
  source.add(0, { length: MIB, pauseAt: 0, pause: () => held.opened });
  for (const address of ["127.0.0.2", "127.0.0.3", "127.0.0.4"]) {
    for (let count = 0; count < 4; count += 1)
      expect(await askFrom(address, tcpPort)).toBe("served");
  }
  expect(limits.serving.usedLength).toBe(12 * MIB);
  for (let count = 0; count < 100; count += 1) {
    const answer = await askFrom(`127.0.1.${count + 1}`, tcpPort);
    expect(answer).toContain(`the pieces being served take ${12 * MIB} bytes already`);
  }
  expect(source.requestCount).toBe(12);
  held.open();
  await expect.poll(() => askFrom("127.0.0.5", tcpPort)).toBe("served");
});

describe.each(["tcp", "grpc"] as const)("a child that takes nothing over %s", (protocol) => {
  it("loses its piece when others want the memory, and not before", async () => {
    const { limits, ask } = await openNode({ memoryLimit: 32 * MIB });
    const long = source.add(0, { length: 64 * MIB, chunkLength: 512 * 1024 });
    const short = source.add(1, { length: MIB });
    const unread: PieceDownload[] = [];
    for (let count = 0; count < 6; count += 1) unread.push(await ask(protocol, long));
    await expect.poll(() => limits.serving.usedLength).toBe(6 * MIB);
    expect(await codeOf(ask(protocol, short))).toBe("ERR_PARENT_BUSY");
    await expect
      .poll(
        async () => {
          await clock.pass(10_000);
          return await ask(protocol, short).then(readPiece, codeOf);
        },
        { timeout: 10_000 },
      )
      .toBe(MIB);
    const outcomes = await Promise.all(unread.map((each) => readPiece(each).catch(() => "cut")));
    expect(outcomes.filter((outcome) => outcome === "cut")).not.toEqual([]);
  }, 30_000);
});

describe("a rate", () => {
  const RATE = 1_000_000;
  /** What may have moved by now: the first tenth of a second's worth at once. */
  const most = (): number => RATE * (0.1 + clock.now() / 1000);

  it("holds what goes to children together, over all transports", async () => {
    const { limits, ask } = await openNode({ uploadRate: RATE });
    const request = source.add(0, { length: MIB });
    let endedCount = 0;
    const readings = PROTOCOLS.map(async (protocol) => {
      const received = await ask(protocol, request).then(readPiece);
      endedCount += 1;
      return received;
    });
    await expect.poll(() => limits.upload.waitingCount).toBe(PROTOCOLS.length);
    expect(limits.moved.uploadRate).toBeLessThanOrEqual(most());
    while (endedCount < PROTOCOLS.length) {
      await clock.pass(10);
      await setImmediate();
      expect(limits.moved.uploadRate).toBeLessThanOrEqual(most());
    }
    expect(await Promise.all(readings)).toEqual(PROTOCOLS.map(() => MIB));
    expect(limits.moved.uploadRate).toBe(PROTOCOLS.length * MIB);
  });

  it("holds what comes from parents together, over all transports", async () => {
    const { limits, ask } = await openNode({ downloadRate: RATE });
    const request = source.add(0, { length: MIB });
    let endedCount = 0;
    let received = 0;
    const readings = PROTOCOLS.map(async (protocol) => {
      const { signal } = new AbortController();
      await using incoming = await limits.openPiece(MIB, signal, () => ask(protocol, request));
      for await (const { byteLength } of incoming.content) received += byteLength;
      endedCount += 1;
    });
    while (endedCount < PROTOCOLS.length) {
      await clock.pass(10);
      await setImmediate();
      expect(received).toBeLessThanOrEqual(most());
    }
    await Promise.all(readings);
    expect(received).toBe(PROTOCOLS.length * MIB);
    expect(limits.moved.downloadRate).toBe(received);
  });

  it("holds what comes from origins together", async () => {
    const limits = new ContentLimits({ ...DEFAULT_CONTENT_LIMITS, originRate: RATE }, clock);
    const server = await openOriginServer();
    server.set("/file", { content: Buffer.alloc(MIB) });
    const origin = openHttpOrigin({ userAgent: "test" });
    opened.push(server, origin);
    let endedCount = 0;
    let received = 0;
    const readings = Array.from({ length: 5 }, async () => {
      const { signal } = new AbortController();
      const request = { url: `${server.url}/file`, header: {} };
      await using body = await limits.openBody(signal, () => origin.readAll(request, { signal }));
      for await (const { byteLength } of body.content) received += byteLength;
      endedCount += 1;
    });
    while (endedCount < readings.length) {
      await clock.pass(10);
      await setImmediate();
      expect(received).toBeLessThanOrEqual(most());
    }
    await Promise.all(readings);
    expect(received).toBe(5 * MIB);
  });
});
