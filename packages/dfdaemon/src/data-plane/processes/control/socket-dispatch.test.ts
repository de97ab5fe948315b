import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SocketNote } from "../protocol.ts";
import { SocketDispatch, type SocketTaker } from "./socket-dispatch.ts";
import type { ProcessEnd } from "./worker-process.ts";

const TCP: SocketNote = { kind: "tcp" };
let server: Server;
let port: number;
let dialled: Socket[];

beforeEach(async () => {
  server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("expected a TCP port");
  ({ port } = address);
  dialled = [];
});
afterEach(() => {
  for (const socket of dialled) socket.destroy();
  server.close();
});

async function accept(): Promise<Socket> {
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  dialled.push(socket);
  return await accepted;
}

/** Takes what it is given, or leaves it lying when it is stuck. */
class Taker implements SocketTaker {
  readonly ended: Promise<ProcessEnd>;
  readonly taken: Socket[] = [];
  readonly #isStuck: boolean;
  readonly #untaken: [SocketNote, Socket][] = [];
  #end: (end: ProcessEnd) => void = () => {};

  constructor({ isStuck = false } = {}) {
    this.#isStuck = isStuck;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  handOver(note: SocketNote, socket: Socket): void {
    if (this.#isStuck) this.#untaken.push([note, socket]);
    else this.taken.push(socket);
  }

  untaken(): [SocketNote, Socket][] {
    return this.#untaken;
  }

  async end(): Promise<void> {
    this.#end({ reason: "was ended", signal: "SIGKILL", exitCode: null });
    await this.ended;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("SocketDispatch", () => {
  it("hands connections to the processes in turns", async () => {
    const dispatch = new SocketDispatch();
    const takers = [new Taker(), new Taker()];
    for (const taker of takers) dispatch.add(taker);
    for (let count = 0; count < 6; count += 1) dispatch.take(TCP, await accept());
    expect(takers.map(({ taken }) => taken.length)).toEqual([3, 3]);
  });

  it("keeps those that come while there is no process for the next one", async () => {
    const dispatch = new SocketDispatch();
    const first = new Taker();
    dispatch.add(first);
    await first.end();
    const socket = await accept();
    dispatch.take(TCP, socket);
    const next = new Taker();
    dispatch.add(next);
    expect(next.taken).toEqual([socket]);
    expect(first.taken).toEqual([]);
  });

  it("hands those that a process had not taken when it ended to another one", async () => {
    const dispatch = new SocketDispatch();
    const stuck = new Taker({ isStuck: true });
    dispatch.add(stuck);
    const [waiting, gone] = [await accept(), await accept()];
    dispatch.take(TCP, waiting);
    dispatch.take(TCP, gone);
    gone.destroy();
    await stuck.end();
    const next = new Taker();
    dispatch.add(next);
    expect(next.taken).toEqual([waiting]);
  });

  it("closes connections that are too many to wait", async () => {
    const dispatch = new SocketDispatch();
    const sockets: Socket[] = [];
    while (sockets.length < 520) sockets.push(await accept());
    for (const socket of sockets) dispatch.take(TCP, socket);
    expect(sockets.filter(({ destroyed }) => destroyed)).toHaveLength(8);
    const taker = new Taker();
    dispatch.add(taker);
    expect(taker.taken).toHaveLength(512);
  });
});
