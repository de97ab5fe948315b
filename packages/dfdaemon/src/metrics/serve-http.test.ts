import { createGate } from "@damselfly/transport/conformance";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import type { HttpLimits } from "./http-limits.ts";
import { serveHttp, type HttpPage, type HttpServer } from "./serve-http.ts";

const GET = "GET /page HTTP/1.1\r\nhost: x\r\n\r\n";

const disposables: AsyncDisposable[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function serve(
  limits: Partial<HttpLimits>,
  render: HttpPage["render"] = async () => "hello\n",
): Promise<HttpServer> {
  const pages = new Map([
    ["/page", { contentType: "text/plain", render }],
    ["/other", { contentType: "text/plain", render }],
  ]);
  const server = await serveHttp("pages", { ip: "127.0.0.1", port: 0 }, pages, { limits });
  disposables.push(server);
  return server;
}

async function dial({ address }: HttpServer): Promise<Socket> {
  const socket = connect(address.port, address.ip);
  sockets.push(socket);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** All that comes until the server closes. */
const answerOn = (socket: Socket): Promise<string> => text(socket).catch(() => "");

/** The status that a caller gets who behaves. */
async function ask({ address }: HttpServer): Promise<number> {
  const headers = { connection: "close" };
  return (await fetch(`http://${address.ip}:${address.port}/page`, { headers })).status;
}

/** Whether it is closed by the other side, now or soon. */
async function closed(socket: Socket): Promise<boolean> {
  socket.resume();
  if (!socket.closed) await once(socket, "close");
  return socket.destroyed;
}

/** Everything that others have sent by now has been looked at: an answer comes back. */
async function answered(socket: Socket): Promise<void> {
  socket.write(GET);
  await once(socket, "data");
}

describe("serveHttp, to callers who do not behave", () => {
  it("closes connections that say nothing, and those that do not come to an end", async () => {
    const server = await serve({ requestMs: 200 });
    const silent = await dial(server);
    const slow = await dial(server);
    slow.write("GET /page HTTP/1.1\r\n");
    const drip = setInterval(() => slow.write("a: b\r\n"), 20);
    const body = await dial(server);
    body.write("GET /page HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n");
    try {
      expect(await answerOn(slow)).toContain("408");
      expect(await closed(silent)).toBe(true);
      expect(await closed(body)).toBe(true);
    } finally {
      clearInterval(drip);
    }
    expect(await ask(server)).toBe(200);
  });

  it("closes connections that are idle between requests", async () => {
    const server = await serve({ idleMs: 50 });
    const socket = await dial(server);
    await answered(socket);
    expect(await closed(socket)).toBe(true);
  });

  it("takes headers as long as they may be, and not a byte more", async () => {
    const server = await serve({ headerLengthMax: 1_000 });
    const request = (length: number): string => {
      const start = "GET /page HTTP/1.1\r\nhost: x\r\nconnection: close\r\na: ";
      return `${start}${"x".repeat(length - start.length - 4)}\r\n\r\n`;
    };
    for (const [length, status] of [
      [900, "200"],
      [1_100, "431"],
      [1_000_000, "431"],
    ] as const) {
      const socket = await dial(server);
      socket.write(request(length));
      const answer = await answerOn(socket);
      // Of a flood nothing may be left to read: the connection was reset.
      if (length < 10_000 || answer !== "") expect(answer).toContain(status);
    }
    expect(await ask(server)).toBe(200);
  });

  it("closes the connection that waits for longest when there is one too many, of five hundred", async () => {
    const server = await serve({ connectionCountMax: 4, connectionsPerAddressMax: 4 });
    const first = await dial(server);
    await answered(first);
    const others = [await dial(server), await dial(server), await dial(server)];
    await answered(others[2]!);
    // The first one has asked, and is idle since before the others came.
    await dial(server);
    expect(await closed(first)).toBe(true);
    for (let count = 0; count < 500; count += 1) await dial(server);
    for (const socket of others) expect(await closed(socket)).toBe(true);
    expect(await ask(server)).toBe(200);
  });

  it("closes a new connection when all others have requests, and never those", async () => {
    const gate = createGate();
    let count = 0;
    const server = await serve({ connectionCountMax: 2 }, async () => {
      count += 1;
      await gate.opened;
      return "done\n";
    });
    const busy = [await dial(server), await dial(server)];
    for (const [index, path] of ["/page", "/other"].entries()) {
      busy[index]!.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    }
    await expect.poll(() => count, { interval: 5, timeout: 20_000 }).toBe(2);
    const other = await dial(server);
    expect(await closed(other)).toBe(true);
    const answers = busy.map(answerOn);
    gate.open();
    for (const answer of answers) expect(await answer).toContain("done");
    expect(await ask(server)).toBe(200);
  });

  it("keeps addresses from taking more than their part", async () => {
    const server = await serve({ connectionCountMax: 100, connectionsPerAddressMax: 2 });
    const first = await dial(server);
    await answered(first);
    for (let count = 0; count < 50; count += 1) await dial(server);
    expect(await closed(first)).toBe(true);
    const own = connect({ ...server.address, host: server.address.ip, localAddress: "127.0.0.2" });
    sockets.push(own);
    await answered(own);
  });

  it("answers 429 to who asks too often, and others as ever", async () => {
    const server = await serve({ requestsPerSecondMax: 5 });
    const socket = await dial(server);
    socket.write(GET.repeat(1_000));
    const answer = await answerOn(socket);
    expect(answer.match(/ 200 /gu)?.length).toBe(10);
    expect(answer.match(/ 429 /gu)?.length).toBe(1);
    const other = connect({
      ...server.address,
      host: server.address.ip,
      localAddress: "127.0.0.2",
    });
    sockets.push(other);
    other.write(GET);
    const [data] = await once(other, "data");
    expect(String(data)).toContain(" 200 ");
  });

  it("makes a page once for all who ask meanwhile", async () => {
    const gate = createGate();
    let count = 0;
    const server = await serve({}, async () => {
      count += 1;
      await gate.opened;
      return "done\n";
    });
    const socket = await dial(server);
    socket.write(`${GET.repeat(19)}${GET.replace("host: x", "host: x\r\nconnection: close")}`);
    await expect.poll(() => count, { interval: 5, timeout: 20_000 }).toBe(1);
    gate.open();
    const answer = await answerOn(socket);
    expect(answer.match(/done/gu)?.length).toBe(20);
    expect(count).toBe(1);
    expect(await ask(server)).toBe(200);
    expect(count).toBe(2);
  });

  it("gives up callers that take nothing of an answer", async () => {
    const page = "x".repeat(50_000_000);
    const server = await serve({ connectionCountMax: 1, stallMs: 100 }, async () => page);
    const socket = await dial(server);
    socket.write(GET);
    await once(socket, "data");
    socket.pause();
    const next = (): Promise<number> => ask(server).catch(() => 0);
    expect(await next()).toBe(0);
    await expect.poll(next, { interval: 50, timeout: 20_000 }).toBe(200);
  });
});
