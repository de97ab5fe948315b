import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { connectivityState } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { createHealthClient, type HealthClient } from "./clients.ts";
import type { RpcClientOptions } from "./client.ts";
import { serveRpc, type RpcServer, type ServeRpcOptions } from "./serve-rpc.ts";
import { createTestAuthority, frame, FrameType, RawHttp2 } from "./testing.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

interface Address {
  readonly ip: string;
  readonly port: number;
}

async function serve(options: Partial<ServeRpcOptions> = {}): Promise<Address> {
  return (await openServer(options)).address;
}

async function openServer(
  options: Partial<ServeRpcOptions>,
): Promise<{ readonly server: RpcServer; readonly address: Address }> {
  const address = { ip: "127.0.0.1", port: 0 };
  const server = await serveRpc({ address, services: [], graceMs: 1_000, ...options });
  disposables.push(server);
  if (!("port" in server.address)) throw new TypeError("A port is wanted");
  return { server, address: server.address };
}

function open(address: Address, options: RpcClientOptions = {}): HealthClient {
  const client = createHealthClient(address, options);
  disposables.push(client);
  return client;
}

/** What a new caller is told: that it is served, or the code of the refusal. */
async function ask(address: Address, options: RpcClientOptions = {}): Promise<unknown> {
  const client = createHealthClient(address, options);
  try {
    return (await client.check({}, { timeoutMs: 10_000 })).status;
  } catch (error) {
    return error instanceof Error && "code" in error ? error.code : error;
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

/** Keeps a call going, until the returned function ends it. */
async function hold(client: HealthClient): Promise<() => void> {
  const controller = new AbortController();
  const watching = client.watch({}, { signal: controller.signal })[Symbol.asyncIterator]();
  await watching.next();
  watching.next().catch(() => undefined);
  return () => controller.abort();
}

async function untilClosed(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.closed) await once(socket, "close");
}

async function dial({ ip, port }: Address, from = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ host: ip, port, localAddress: from });
  socket.on("error", () => {});
  disposables.push({ [Symbol.asyncDispose]: async () => void socket.destroy() });
  await once(socket, "connect");
  return socket;
}

/** A TLS handshake record that says there are 512 bytes to come. */
const HELLO_BEGINNING = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]);
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

describe("a connection that has begun", async () => {
  const node = await (await createTestAuthority()).issue();

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["two bytes of TLS", HELLO_BEGINNING.subarray(0, 2)],
    ["the beginning of a ClientHello", HELLO_BEGINNING],
    ["four bytes of HTTP/2", PREFACE.subarray(0, 4)],
    ["all of its preface", PREFACE],
    ["half of its settings", Buffer.concat([PREFACE, frame(FrameType.Settings).subarray(0, 5)])],
  ])("and says %s, is cut off in time, while others are served", async (_, words) => {
    const address = await serve({ tls: node, plain: true, limits: { halfOpenMs: 1_000 } });
    const socket = await dial(address);
    socket.write(words);
    expect(await ask(address, { tls: node })).toBe("SERVING");
    await untilClosed(socket);
    expect(await ask(address)).toBe("SERVING");
  });

  it("is not cut off once it has greeted, with TLS or without", async () => {
    const address = await serve({ tls: node, plain: true, limits: { halfOpenMs: 1_000 } });
    const clients = [open(address, { tls: node }), open(address)];
    for (const client of clients) await client.check({});
    await untilClosed(await dial(address)); // which came later, and has said nothing
    for (const client of clients) {
      const { READY } = connectivityState;
      expect(client.channel.getChannel().getConnectivityState(false)).toBe(READY);
      expect(await client.check({})).toMatchObject({ status: "SERVING" });
    }
  });

  it("costs the oldest of too many its place: at the limit, one beyond and far beyond", async () => {
    const limits = { halfOpenCountMax: 10, halfOpenMs: 60_000 };
    const address = await serve({ tls: node, plain: true, limits });
    const sockets: Socket[] = [];
    for (let count = 0; count < 10; count += 1) sockets.push(await dial(address));
    expect(await ask(address)).toBe("SERVING"); // and was the eleventh for a moment
    await untilClosed(sockets[0]!);
    expect(sockets[2]!.destroyed).toBe(false);
    for (let count = 0; count < 300; count += 1) {
      const socket = await dial(address);
      socket.write(HELLO_BEGINNING);
      sockets.push(socket.resume());
    }
    await expect.poll(() => sockets.filter(({ destroyed }) => !destroyed).length).toBe(10);
    expect(await ask(address, { tls: node })).toBe("SERVING");
  });
});

describe("connections", () => {
  it("beyond the limit take the place of those without a call, the one idle for longest first", async () => {
    const address = await serve({ limits: { connectionCountMax: 2 } });
    const [first, second] = [await RawHttp2.greet(address), await RawHttp2.greet(address)];
    await expect.poll(() => second.frames.length).toBeGreaterThan(0);
    expect(await ask(address)).toBe("SERVING");
    await untilClosed(first.socket);
    expect([first.goAwayCode, second.isClosed]).toEqual([0, false]);
    for (let count = 0; count < 20; count += 1) expect(await ask(address)).toBe("SERVING");
    second.close();
  });

  it("beyond the limit are refused where all others have calls, and let in when there is room", async () => {
    const address = await serve({ limits: { connectionCountMax: 2 } });
    const [first, second] = [open(address), open(address)];
    const leave = await hold(first);
    await hold(second);
    for (let count = 0; count < 20; count += 1) {
      expect(await ask(address)).toBe("RESOURCE_EXHAUSTED");
    }
    leave();
    await expect.poll(() => ask(address)).toBe("SERVING");
  });

  it("that are refused do not stay, however they ping", async () => {
    const address = await serve({ limits: { connectionCountMax: 1 } });
    await hold(open(address));
    const refused = await RawHttp2.greet(address);
    const ping = frame(FrameType.Ping, { payload: Buffer.alloc(8) });
    const pinging = setInterval(() => void refused.write(ping), 300);
    try {
      await expect.poll(() => refused.count(FrameType.Ping), { timeout: 5_000 }).toBeGreaterThan(2);
      await expect.poll(() => refused.isClosed, { timeout: 15_000 }).toBe(true);
    } finally {
      clearInterval(pinging);
    }
  });

  it("from one address are held to its share", async () => {
    const address = await serve({
      address: { ip: "0.0.0.0", port: 0 },
      limits: { connectionCountMax: 10, connectionsPerAddressMax: 2 },
    });
    const target = { ...address, ip: "127.0.0.1" };
    await hold(open(target));
    await hold(open(target));
    for (let count = 0; count < 30; count += 1) {
      expect(await ask(target)).toBe("RESOURCE_EXHAUSTED");
    }
    const elsewhere = RawHttp2.over(await dial(target, "127.0.0.2"));
    elsewhere.greet();
    const streamId = await elsewhere.call("/grpc.health.v1.Health/Check", {
      body: Buffer.alloc(5),
      end: true,
    });
    await expect.poll(() => elsewhere.count(FrameType.Data, streamId)).toBe(1);
  });

  // Those that are refused stay two seconds from their greeting, whatever they say: all of this has to be over by then.
  it(
    "are not accepted beyond the limit of all of them, those that are told to go included",
    { retry: 2 },
    async () => {
      const address = await serve({ limits: { connectionCountMax: 1, halfOpenCountMax: 10 } });
      await hold(open(address));
      const refused: RawHttp2[] = [];
      const greet = async (): Promise<void> => {
        const raw = await RawHttp2.greet(address);
        await expect.poll(() => raw.count(FrameType.Settings), { interval: 1 }).toBe(2); // and has heard ours
        refused.push(raw);
      };
      // No more at once than may be half open: they are not to push each other out before they have greeted.
      for (let count = 0; count < 10; count += 1)
        await Promise.all(Array.from({ length: 10 }, greet));
      const silent: Socket[] = [];
      for (let count = 0; count < 10; count += 1) silent.push((await dial(address)).resume());
      await Promise.all(Array.from({ length: 301 }, async () => untilClosed(await dial(address))));
      expect(refused.some(({ isClosed }) => isClosed)).toBe(false);
      expect(silent.some(({ destroyed }) => destroyed)).toBe(false);
      for (const each of refused) each.close();
      await expect.poll(() => ask(address)).toBe("RESOURCE_EXHAUSTED"); // and is heard again
    },
  );

  it("are not taken over beyond it either", async () => {
    const { server, address } = await openServer({
      limits: { connectionCountMax: 5, halfOpenCountMax: 10 },
    });
    const accepted: Socket[] = [];
    const listener = createServer((socket) => accepted.push(socket)).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const bound = listener.address();
    const port = typeof bound === "object" ? bound!.port : 0;
    const count = 10 + 5 + 100;
    for (let index = 0; index < count + 301; index += 1) await dial({ ip: "127.0.0.1", port });
    await expect.poll(() => accepted.length).toBe(count + 301);
    // In one go: those that the server closes are here until the system has closed them.
    for (const socket of accepted) server.take(socket);
    expect(accepted.flatMap(({ destroyed }, index) => (destroyed ? [] : [index]))).toEqual(
      Array.from({ length: 10 }, (_, index) => count - 10 + index),
    );
    expect(await ask(address)).toBe("SERVING");
    listener.close();
  });

  it("that broke the protocol, and stay, make room for others", async () => {
    const address = await serve({ limits: { connectionCountMax: 3 } });
    const broken = await Promise.all([1, 2, 3].map(() => RawHttp2.greet(address)));
    for (const each of broken)
      await each.write(frame(FrameType.Settings, { payload: Buffer.alloc(5) }));
    await expect.poll(() => broken.map(({ goAwayCode }) => goAwayCode)).toEqual([6, 6, 6]);
    for (const each of broken) {
      await hold(open(address));
      await untilClosed(each.socket);
    }
  });

  it("begin no faster than an address may, and its rate is its own", async () => {
    const limits = { connectionsPerSecondMax: 20, halfOpenMs: 60_000 };
    const address = await serve({ address: { ip: "0.0.0.0", port: 0 }, limits });
    const target = { ...address, ip: "127.0.0.1" };
    const sockets = await Promise.all(Array.from({ length: 400 }, () => dial(target)));
    for (const socket of sockets) socket.resume();
    const closedCount = (): number => sockets.filter(({ destroyed }) => destroyed).length;
    // Forty at once, and what a busy machine has had time for meanwhile.
    await expect.poll(closedCount, { timeout: 10_000 }).toBeGreaterThan(200);
    expect(sockets.length - closedCount()).toBeGreaterThanOrEqual(40);
    const other = RawHttp2.over(await dial(target, "127.0.0.3"));
    other.greet();
    await expect.poll(() => other.count(FrameType.Settings)).toBeGreaterThan(0);
    await expect.poll(() => ask(target), { timeout: 10_000 }).toBe("SERVING");
  });
});
