import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { serialize } from "node:v8";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MESSAGE_LENGTH_MAX, openPipeChannel } from "./pipe-channel.ts";

let ends: [Socket, Socket];

beforeEach(async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("expected a TCP port");
  const one = connect(address.port, "127.0.0.1");
  const other = await new Promise<Socket>((resolve) => server.once("connection", resolve));
  server.close();
  ends = [one, other];
});
afterEach(() => {
  for (const end of ends) end.destroy();
});

/** As `openPipeChannel` writes it. */
function frame(message: unknown): Buffer {
  const body = serialize(message);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.byteLength);
  return Buffer.concat([header, body]);
}

describe("openPipeChannel", () => {
  it("carries plain data of every kind both ways, in order", async () => {
    const [left, right] = [openPipeChannel(ends[0]), openPipeChannel(ends[1])];
    const messages = [
      { bytes: Uint8Array.of(1, 2), ino: 2n ** 60n, none: undefined, list: [1, "two", null] },
      "x".repeat(1_000_000),
      0,
    ];
    const arrived: unknown[] = [];
    right.onMessage = (message) => {
      arrived.push(message);
      right.send(message);
    };
    const returned: unknown[] = [];
    left.onMessage = (message) => void returned.push(message);
    for (const message of messages) left.send(message);
    await expect.poll(() => returned.length).toBe(messages.length);
    expect(arrived).toMatchObject([{ ino: 2n ** 60n, list: [1, "two", null] }, messages[1], 0]);
    expect(returned[1]).toBe(messages[1]);
  });

  it("keeps what comes before anybody listens", async () => {
    const [left, right] = [openPipeChannel(ends[0]), openPipeChannel(ends[1])];
    left.send("early");
    left.send("bird");
    await once(ends[1], "data");
    const arrived: unknown[] = [];
    right.onMessage = (message) => void arrived.push(message);
    await expect.poll(() => arrived).toEqual(["early", "bird"]);
  });

  it("puts messages together however the pipe cuts them", async () => {
    const channel = openPipeChannel(ends[0]);
    const arrived: unknown[] = [];
    channel.onMessage = (message) => void arrived.push(message);
    for (const byte of Buffer.concat([frame({ a: 1 }), frame("b"), frame([3])])) {
      ends[1].write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => arrived).toEqual([{ a: 1 }, "b", [3]]);
  });

  it("closes both ends, after what was sent before", async () => {
    const [left, right] = [openPipeChannel(ends[0]), openPipeChannel(ends[1])];
    const arrived: unknown[] = [];
    right.onMessage = (message) => void arrived.push(message);
    left.send("last words");
    left.close();
    await Promise.all([left.closed, right.closed]);
    expect(arrived).toEqual(["last words"]);
    left.send("too late");
    left.close();
  });

  it.each([
    ["what is no message", Buffer.concat([Buffer.from([0, 0, 0, 4]), Buffer.from("rubb")])],
    ["a message that is too long", Buffer.from([0xff, 0xff, 0xff, 0xff])],
  ])("closes over %s", async (_name, bytes) => {
    expect(MESSAGE_LENGTH_MAX).toBeLessThan(0xffffffff);
    const channel = openPipeChannel(ends[0]);
    channel.onMessage = () => {};
    ends[1].write(bytes);
    await channel.closed;
  });
});
