import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { relayToPort } from "./relay-to-port.ts";

const IP = "127.0.0.1";
const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function listen(accept: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket.on("error", () => {}));
    accept(socket);
  });
  servers.push(server);
  await once(server.listen(0, IP), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("a port is wanted");
  return address.port;
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ host: IP, port, allowHalfOpen: true }).on("error", () => {});
  sockets.push(socket);
  await once(socket, "connect");
  return socket;
}

/** A socket on a link that takes a while for each write. */
function slowed(socket: Socket): Socket {
  const write = socket._write.bind(socket);
  socket._write = (chunk, encoding, done) =>
    void setTimeout(() => write(chunk, encoding, done), 100);
  return socket;
}

it("passes on all that was sent, though it is sent faster than it is taken, and both have ended", async () => {
  const answer = Buffer.alloc(10_000, 7);
  const port = await listen((socket) => {
    socket.resume();
    socket.once("end", () => socket.end(answer));
  });
  const relay = await listen((socket) => relayToPort(slowed(socket), { ip: IP, port }));
  const client = await dial(relay);
  client.end("what there is");
  const received: Buffer[] = [];
  client.on("data", (chunk: Buffer) => received.push(chunk));
  await once(client, "close");
  expect(Buffer.concat(received).equals(answer)).toBe(true);
});

/** Closes when the other side has ended. */
function endingWith(socket: Socket): Socket {
  socket.allowHalfOpen = false;
  return socket.resume();
}

it("has either side hear that the other one broke off", async () => {
  let served: Socket | undefined;
  const port = await listen((socket) => (served = endingWith(socket)));
  const relay = await listen((socket) => relayToPort(socket, { ip: IP, port }));
  const one = endingWith(await dial(relay));
  await expect.poll(() => served).toBeDefined();
  const first = served!;
  one.resetAndDestroy();
  await once(first, "close");
  served = undefined;
  const other = endingWith(await dial(relay));
  await expect.poll(() => served).toBeDefined();
  served!.resetAndDestroy();
  await once(other, "close");
});

it("does not keep a child that takes nothing, nor one that has all and never ends", async () => {
  const port = await listen((socket) => socket.resume().end(Buffer.alloc(32 * 2 ** 20)));
  const closed: Promise<unknown>[] = [];
  const relay = await listen((socket) => {
    closed.push(once(socket, "close"));
    relayToPort(socket, { ip: IP, port }, 100);
  });
  const silent = await dial(relay);
  await expect.poll(() => closed.length).toBe(1);
  (await dial(relay)).resume();
  await expect.poll(() => closed.length).toBe(2);
  await Promise.all(closed);
  expect(silent.bytesRead).toBeLessThan(32 * 2 ** 20);
});

it("ends a connection to a port where nobody listens", async () => {
  const relay = await listen((socket) => relayToPort(socket, { ip: IP, port: 1 }));
  await once(endingWith(await dial(relay)), "close");
});
