import { createServer } from "node:net";
import { once } from "node:events";
import { TransportError } from "@damselfly/transport";
import {
  createGate,
  fillContent,
  SyntheticSource,
  TASK_ID,
} from "@damselfly/transport/conformance";
import { decodePacket, encodePacket, ErrorCode, type Packet, Tag } from "@damselfly/vortex";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { serveTcp, type ServeTcpOptions, type TcpPieceServer } from "./serve-tcp.ts";
import { RawConnection } from "./testing/raw-connection.ts";

const LENGTH = 300_001;
const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

/** As Dragonfly's children of 1.5.10 and 1.5.1 send it. */
function request(pieceNumber: number, tag = 0, taskId = TASK_ID): Buffer {
  const head = Buffer.from([0x2a, tag, 0, 0, 0, 68]);
  const number = Buffer.alloc(4);
  number.writeUInt32BE(pieceNumber);
  return Buffer.concat([head, Buffer.from(taskId), number]);
}

function contentOf(pieceNumber: number, length = LENGTH): Buffer {
  const bytes = Buffer.alloc(length);
  fillContent(bytes, pieceNumber, 0);
  return bytes;
}

async function serve(options: Partial<ServeTcpOptions> = {}): Promise<{
  readonly source: SyntheticSource;
  readonly server: TcpPieceServer;
  readonly child: RawConnection;
  readonly open: () => Promise<RawConnection>;
}> {
  const source = new SyntheticSource();
  const address = { ip: "127.0.0.1", port: 0 };
  const server = await serveTcp({ source, address, plain: true, ...options });
  opened.push(server);
  const open = async (): Promise<RawConnection> => {
    const child = await RawConnection.open(server.address.port);
    opened.push({ [Symbol.asyncDispose]: async () => child.close() });
    return child;
  };
  return { source, server, child: await open(), open };
}

/** Reads a packet as Dragonfly's children do. */
async function readPacket(child: RawConnection): Promise<Packet> {
  const head = await child.read(6);
  const value = await child.read(head.readUInt32BE(2));
  return decodePacket(Buffer.concat([head, value]));
}

async function readPiece(child: RawConnection, pieceNumber: number): Promise<void> {
  const packet = await readPacket(child);
  expect(packet).toMatchObject({ kind: "content", tag: 1, pieceNumber, length: LENGTH });
  expect((await child.read(LENGTH)).equals(contentOf(pieceNumber))).toBe(true);
}

describe("a child of Dragonfly 1.5.10", () => {
  it("gets one piece after another on one connection", async () => {
    const { source, child, server } = await serve();
    for (const number of [3, 4, 4_294_967_295]) {
      source.add(number, { length: LENGTH, offset: 12_582_912 });
      child.write(request(number));
      await readPiece(child, number);
    }
    expect(child.unread.byteLength).toBe(0);
    expect(child.hasEnded).toBe(false);
    expect(server.stats()).toMatchObject({
      connectionCount: 1,
      acceptedCount: 1,
      requestCount: 0,
      sentLength: 3 * LENGTH,
    });
  });

  it("gets the announcement byte for byte, and at once the content", async () => {
    const { source, child } = await serve();
    source.add(3, { length: 13, offset: 12_582_912, digest: "crc32:2533597436" });
    child.write(request(3));
    const packet = await child.read(6 + 4 + 45 + 16);
    const withoutId = packet.subarray(1).toString("hex");
    expect(withoutId).toBe(
      "01000000410000003d000000030000000000c00000000000000000000d0000001063726333323a32353333353937343336" +
        "000000000100000000000000000000000000000000",
    );
    expect(await child.read(13)).toEqual(contentOf(3, 13));
  });

  it("gets nothing but an announcement for an empty piece", async () => {
    const { source, child } = await serve();
    source.add(0, { length: 0 });
    source.add(1, { length: LENGTH });
    child.write(request(0));
    expect(await readPacket(child)).toMatchObject({ kind: "content", length: 0 });
    child.write(request(1));
    await readPiece(child, 1);
  });

  it.each([0, 2, 4])(
    "is told byte for byte that a piece is not found, asked with tag %i",
    async (tag) => {
      const { source, child } = await serve();
      source.add(3, { length: LENGTH });
      const missing = tag === 0 ? 9 : 3; // of the other kinds there are no tasks
      child.write(request(missing, tag));
      const text = `piece ${TASK_ID}-${missing} not found`;
      const packet = await child.read(6 + 1 + text.length);
      expect(packet.subarray(1)).toEqual(
        Buffer.concat([Buffer.from([255, 0, 0, 0, 1 + text.length, 2]), Buffer.from(text)]),
      );
      // And the connection is as good as before.
      child.write(request(3));
      await readPiece(child, 3);
    },
  );

  it("is told that a task that has no hex digits is not found, without anybody being asked", async () => {
    const { source, child } = await serve();
    const taskId = `../${"é".repeat(30)}x`;
    child.write(request(0, 0, taskId));
    expect(await readPacket(child)).toMatchObject({
      kind: "error",
      code: ErrorCode.NotFound,
      message: `piece ${taskId}-0 not found`,
    });
    expect(source.requestCount).toBe(0);
  });

  it.each<[string, Error, string]>([
    ["cannot be read", new Error("EIO: /secret/path"), "the parent failed to read it"],
    ["is wanted by too many", new TransportError("ERR_PARENT_BUSY", "Too many"), "Too many"],
  ])("is told in its own words that a piece %s", async (_, refusal, reason) => {
    const { source, child } = await serve();
    source.add(0, { length: 1, refusal });
    source.add(3, { length: LENGTH });
    child.write(request(0));
    const packet = await readPacket(child);
    expect(packet).toMatchObject({ kind: "error", code: ErrorCode.Internal });
    const message = packet.kind === "error" ? packet.message : "";
    expect(message).toMatch(new RegExp(`^failed to get piece ${TASK_ID}-0: .*${reason}`));
    expect(message).not.toContain("secret");
    child.write(request(3));
    await readPiece(child, 3);
  });

  it("is told of a busy parent as of a failure, and may ask again", async () => {
    const { source, child, open } = await serve({ limits: { requestCountMax: 1 } });
    const held = createGate();
    source.add(0, { length: LENGTH, arrival: held.opened });
    source.add(1, { length: LENGTH });
    child.write(request(0));
    await source.until(() => source.openingCount === 1, "the first is asked for");
    const other = await open();
    other.write(request(1));
    expect(await readPacket(other)).toMatchObject({ kind: "error", code: ErrorCode.Internal });
    held.open();
    await readPiece(child, 0);
    await source.untilFree();
    other.write(request(1));
    await readPiece(other, 1);
  });

  it("is cut off where a piece turns out damaged, before its last byte", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH, failAt: LENGTH });
    child.write(request(0));
    await readPacket(child);
    expect((await child.readAll()).byteLength).toBeLessThan(LENGTH);
  });

  it("may go away while a piece is still arriving", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH, arrival: createGate().opened });
    child.write(request(0));
    await source.until(() => source.openingCount === 1, "it is asked for");
    child.close();
    await source.untilFree();
  });

  it("may break the connection in the middle of a piece", async () => {
    const { source, child } = await serve();
    const stuck = createGate();
    const pause = (): Promise<void> => stuck.opened;
    source.add(0, { length: LENGTH, pauseAt: 100_000, pause });
    child.write(request(0));
    await readPacket(child);
    child.socket.resetAndDestroy();
    await source.untilFree();
  });

  it("gets all pieces however its packets are cut or joined", async () => {
    const { source, open } = await serve();
    for (let number = 0; number < 8; number++) source.add(number, { length: number * 1000 });
    const numbers = fc.array(fc.nat(7), { minLength: 1, maxLength: 6 });
    const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 8 });
    const property = fc.asyncProperty(numbers, cuts, async (wanted, sizes) => {
      const child = await open();
      const bytes = Buffer.concat(wanted.map((number) => request(number)));
      for (let start = 0, turn = 0; start < bytes.byteLength; turn++) {
        const size = sizes[turn % sizes.length] ?? 1;
        child.write(bytes.subarray(start, start + size));
        start += size;
        await new Promise(setImmediate);
      }
      for (const number of wanted) {
        expect(await readPacket(child)).toMatchObject({ pieceNumber: number });
        expect(await child.read(number * 1000)).toEqual(contentOf(number, number * 1000));
      }
      child.close();
    });
    await fc.assert(property, { numRuns: 30 });
  });
});

describe("a child of Dragonfly 1.5.1", () => {
  it("gets all of a piece after it has closed its half in the middle", async () => {
    const { source, child, server } = await serve();
    const held = createGate();
    const pause = (): Promise<void> => held.opened;
    source.add(0, { length: LENGTH, pauseAt: 100_000, pause });
    child.write(request(0));
    await readPacket(child);
    child.socket.end();
    const content = child.readAll();
    await once(child.socket, "finish");
    held.open();
    expect((await content).equals(contentOf(0))).toBe(true);
    await expect.poll(() => server.stats().connectionCount).toBe(0);
  });

  it("is forgotten if it closes its half before the announcement", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH, arrival: createGate().opened });
    child.write(request(0));
    await source.until(() => source.openingCount === 1, "it is asked for");
    child.socket.end();
    await source.untilFree();
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
  });

  it("gets a piece at the gRPC port, too, where another server has seen its first bytes", async () => {
    const { source, server } = await serve();
    source.add(0, { length: LENGTH });
    const front = createServer((socket) => {
      socket.once("data", (bytes: Buffer) => {
        socket.pause();
        socket.unshift(bytes);
        server.accept(socket);
      });
    });
    front.listen(0, "127.0.0.1");
    await once(front, "listening");
    const address = front.address();
    const child = await RawConnection.open(typeof address === "object" ? address!.port : 0);
    child.write(request(0));
    const packet = await readPacket(child);
    child.socket.end(); // that server's sockets are not half-open by themselves
    expect(packet).toMatchObject({ kind: "content", length: LENGTH });
    expect((await child.readAll()).equals(contentOf(0))).toBe(true);
    front.close();
  });
});

describe("one of our own children", () => {
  const ask = (offset: number, length: number): Uint8Array =>
    encodePacket({
      kind: "range-request",
      id: 1,
      tag: Tag.DownloadPieceRange,
      taskId: TASK_ID,
      pieceNumber: 0,
      offset,
      length,
    });

  it("gets the bytes it asks for, after the announcement of all of them", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH });
    child.write(ask(1000, 5));
    expect(await readPacket(child)).toMatchObject({ kind: "content", length: LENGTH });
    expect(await child.read(5)).toEqual(contentOf(0).subarray(1000, 1005));
  });

  it("is told in our words of a busy parent, and of a range beyond the end", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH });
    child.write(ask(LENGTH + 1, 1));
    expect(await readPacket(child)).toMatchObject({ kind: "error", code: ErrorCode.NotFound });
    source.add(0, { length: 1, refusal: new TransportError("ERR_PARENT_BUSY", "Too many") });
    child.write(ask(0, 1));
    const busy = { kind: "error", code: ErrorCode.Busy, message: "Too many" };
    expect(await readPacket(child)).toMatchObject(busy);
  });

  it("gets no answer if it asks for nothing", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH });
    child.write(ask(0, 0));
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
    expect(source.requestCount).toBe(0);
  });
});

describe("what is no request", () => {
  it.each<[string, Uint8Array | string]>([
    ["the tag of an answer", "2b0100000031"],
    ["a persistent piece's answer", "0003000000310000"],
    ["a cached piece's request", request(0, 6)],
    ["a cached piece's answer", "000700000000"],
    ["a reserved tag", "090800000003616263"],
    ["a close", "7ffe00000000"],
    ["an error", "01ff000000020378"],
    ["a request that is too short", `2a0000000043${"61".repeat(67)}`],
    ["a request that is too long", `2a0000000045${"61".repeat(69)}`],
    ["a request that is far too long", "2a00ffffffff"],
    ["a task that is no UTF-8", `2a0000000044${"ff".repeat(64)}00000000`],
    ["noise", "99".repeat(200)],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["TLS, where there is none", "160301020001"],
    ["HTTP/2", Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
  ])("is not answered, but closed: %s", async (_, bytes) => {
    const { source, child } = await serve();
    child.write(bytes);
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
    expect(source.requestCount).toBe(0);
  });

  it("closes the connection after a request that was one, too", async () => {
    const { source, child } = await serve();
    source.add(0, { length: LENGTH });
    child.write(Buffer.concat([request(0), Buffer.from("000600000044", "hex")]));
    await readPiece(child, 0);
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
  });

  it("is closed when it ends inside a header, or inside a value", async () => {
    const { child, open } = await serve();
    child.socket.end(request(0).subarray(0, 4));
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
    const other = await open();
    other.socket.end(request(0).subarray(0, 40));
    expect(await other.readAll()).toEqual(Buffer.alloc(0));
  });

  it("is closed without a word where plain children are not served", async () => {
    const { source, child, server } = await serve({ plain: false });
    child.write(request(0));
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
    expect(source.requestCount).toBe(0);
    const front = createServer((socket) => server.accept(socket)).listen(0, "127.0.0.1");
    await once(front, "listening");
    const address = front.address();
    const other = await RawConnection.open(typeof address === "object" ? address!.port : 0);
    other.write(request(0));
    expect(await other.readAll()).toEqual(Buffer.alloc(0));
    front.close();
  });

  it("never brings the server down, whatever the bytes", async () => {
    const { source, open } = await serve({ idleMs: 200 });
    source.add(0, { length: LENGTH });
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 });
    const property = fc.asyncProperty(bytes, fc.nat(100), async (noise, cut) => {
      const child = await open();
      child.write(Buffer.concat([request(0).subarray(0, cut), noise]));
      child.socket.end();
      await child.readAll();
      child.close();
    });
    await fc.assert(property, { numRuns: 50 });
    const good = await open();
    good.write(request(0));
    await readPiece(good, 0);
  });
});

describe("a child that takes its time", () => {
  it("has none for a header: it is closed after the idle limit, whatever it has sent", async () => {
    const { child, open } = await serve({ idleMs: 200 });
    const slow = await open();
    let count = 0;
    // The limit is on the whole header: a byte now and then does not stretch it.
    const dripping = setInterval(() => slow.socket.write(Uint8Array.of(count++ === 1 ? 0 : 7)), 60);
    try {
      expect(await child.readAll()).toEqual(Buffer.alloc(0));
      expect(await slow.readAll()).toEqual(Buffer.alloc(0));
      expect(count).toBeLessThan(74);
    } finally {
      clearInterval(dripping);
    }
  });

  it("is closed when it is idle after an answer", async () => {
    const { source, child } = await serve({ idleMs: 300 });
    source.add(0, { length: LENGTH });
    child.write(request(0));
    await readPiece(child, 0);
    expect(await child.readAll()).toEqual(Buffer.alloc(0));
  });

  it("is waited for while it reads an answer, without the source being read ahead", async () => {
    const { source, child } = await serve({ idleMs: 200 });
    const length = 64 * 1024 * 1024;
    source.add(0, { length, chunkLength: 262_144 });
    child.socket.pause();
    child.write(request(0));
    let before = -1;
    await expect
      .poll(
        () => {
          const isQuiet = before === source.pulledLength && before > 0;
          before = source.pulledLength;
          return isQuiet;
        },
        { interval: 300, timeout: 20_000 },
      )
      .toBe(true);
    expect(source.pulledLength).toBeLessThan(32 * 1024 * 1024);
    child.socket.resume();
    const packet = await readPacket(child);
    expect(packet).toMatchObject({ kind: "content", length });
    expect((await child.read(length)).equals(contentOf(0, length))).toBe(true);
  });

  it("is cut off when it takes nothing for long, but not while its piece is waited for", async () => {
    const { source, child, open } = await serve({ limits: { stallMs: 300 } });
    const held = createGate();
    source.add(0, { length: 64 * 1024 * 1024, chunkLength: 262_144 });
    source.add(1, { length: LENGTH, arrival: held.opened });
    const patient = await open();
    patient.write(request(1));
    await source.until(() => source.openingCount === 1, "it is asked for");
    child.socket.pause();
    child.write(request(0));
    await source.until(() => source.openCount === 1, "the other is being read");
    await source.until(() => source.openCount === 0, "the child is cut off");
    held.open();
    await readPiece(patient, 1);
  });

  it("is cut off when it takes nothing, though it goes on sending", async () => {
    const { source, child } = await serve({ limits: { stallMs: 200 } });
    source.add(0, { length: 64 * 1024 * 1024, chunkLength: 262_144 });
    child.socket.pause();
    child.write(request(0));
    await source.until(() => source.openCount === 1, "it is being read");
    const dripping = setInterval(() => child.write(Uint8Array.of(1)), 50);
    try {
      await source.until(() => source.openCount === 0, "the child is cut off");
    } finally {
      clearInterval(dripping);
    }
  });

  it("may send what it wants while it is answered: little of it is kept, and the rest not read", async () => {
    const { source, child } = await serve();
    const held = createGate();
    source.add(0, { length: LENGTH, arrival: held.opened });
    child.write(request(0));
    await source.until(() => source.openingCount === 1, "it is asked for");
    const flood = 32 * 1024 * 1024;
    child.write(Buffer.concat([request(1), Buffer.alloc(flood)]));
    await new Promise((resolve) => setTimeout(resolve, 300)); // only time shows that nothing happens
    expect(child.socket.writableLength).toBeGreaterThan(0);
    child.close();
    held.open();
    await source.untilFree();
  });
});
