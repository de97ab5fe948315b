import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { createServer as createNetServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { callDaemon } from "./call-daemon.ts";
import { frameMessage } from "./message-frames.ts";
import { openTemporaryDirectory } from "./testing/fake-daemon.ts";

const REQUEST = Buffer.from("what there is to ask");
const GRPC = { ":status": 200, "content-type": "application/grpc" };

describe("callDaemon", () => {
  it("sends the request, and yields the messages of the answer", async () => {
    const asked: Buffer[] = [];
    const answer = async (stream: ServerHttp2Stream): Promise<void> => {
      for await (const chunk of stream) asked.push(chunk);
      stream.respond(GRPC, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.write(frameMessage(Buffer.from("one")));
      stream.end(frameMessage(Buffer.alloc(3 << 20, "2")));
    };
    const messages = await call(answer);
    expect(Buffer.concat(asked).equals(frameMessage(REQUEST))).toBe(true);
    expect(messages.map(({ byteLength }) => byteLength)).toEqual([3, 3 << 20]);
  });

  it("fails with the status, its message and its details, from trailers or from the header alone", async () => {
    const failure = {
      "grpc-status": "5",
      "grpc-message": "no%20such%20file%3A%20%C3%A9",
      "grpc-status-details-bin": Buffer.from("{}").toString("base64"),
    };
    const expected = {
      code: "NOT_FOUND",
      reason: "no such file: é",
      details: Buffer.from("{}"),
    };
    const inHeader = call((stream) => stream.respond({ ...GRPC, ...failure }, { endStream: true }));
    await expect(inHeader).rejects.toMatchObject(expected);
    const inTrailers = call((stream) => {
      stream.respond(GRPC, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers(failure));
      stream.end();
    });
    await expect(inTrailers).rejects.toMatchObject(expected);
  });

  it("takes a status and a message that are none as they are", async () => {
    const odd = { ...GRPC, "grpc-status": "99", "grpc-message": "100 % odd" };
    await expect(call((stream) => stream.respond(odd, { endStream: true }))).rejects.toMatchObject({
      code: "UNKNOWN",
      reason: "100 % odd",
    });
  });

  it.each<[string, (stream: ServerHttp2Stream) => void, string, RegExp]>([
    ["resets the call", (stream) => stream.close(8), "UNAVAILABLE", /./],
    ["hangs up", (stream) => stream.session?.destroy(), "UNAVAILABLE", /./],
    [
      "says nothing about how it went",
      (stream) => {
        stream.respond(GRPC);
        stream.end(frameMessage(REQUEST));
      },
      "UNAVAILABLE",
      /before it said how it went/,
    ],
    [
      "speaks HTTP, but no gRPC",
      (stream) => stream.respond({ ":status": 404 }, { endStream: true }),
      "UNKNOWN",
      /HTTP 404/,
    ],
    [
      "stops in the middle of a message",
      (stream) => {
        stream.respond(GRPC, { waitForTrailers: true });
        stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(frameMessage(REQUEST).subarray(0, 9));
      },
      "INTERNAL",
      /in the middle of a message/,
    ],
  ])("fails when the daemon %s", async (_what, answer, code, reason) => {
    await expect(call(answer)).rejects.toMatchObject({
      name: "CallFailure",
      code,
      reason: expect.stringMatching(reason),
    });
  });

  it("fails when nobody is there, and when who is there does not speak HTTP/2", async () => {
    await using directory = await openTemporaryDirectory();
    const signal = new AbortController().signal;
    const nobody = join(directory.path, "nobody.sock");
    await expect(collect(callDaemon(nobody, "/s/m", REQUEST, signal))).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: expect.stringContaining("ENOENT"),
    });
    const path = join(directory.path, "other.sock");
    const server = createNetServer((socket) => {
      socket.on("error", () => {});
      socket.end("220 mail.example ESMTP\r\n");
    }).listen(path);
    await once(server, "listening");
    try {
      await expect(collect(callDaemon(path, "/s/m", REQUEST, signal))).rejects.toMatchObject({
        code: "UNAVAILABLE",
      });
    } finally {
      server.close();
    }
  });

  it("cancels the call when the signal aborts, and throws its reason", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let cancelled: Promise<unknown> | undefined;
    const answer = (stream: ServerHttp2Stream): void => {
      cancelled = once(stream, "close");
      stream.on("error", () => {});
      stream.respond(GRPC);
      controller.abort(reason);
    };
    await expect(call(answer, controller.signal)).rejects.toBe(reason);
    await cancelled;
    await expect(call(answer, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it("ends the call when the loop is left", async () => {
    await using directory = await openTemporaryDirectory();
    const path = join(directory.path, "daemon.sock");
    const server = createServer();
    const ended = new Promise<void>((resolve) => {
      server.on("stream", (stream: ServerHttp2Stream) => {
        stream.on("error", () => {});
        stream.once("close", resolve);
        stream.respond(GRPC);
        stream.write(frameMessage(REQUEST));
      });
    });
    server.listen(path);
    await once(server, "listening");
    try {
      const signal = new AbortController().signal;
      for await (const message of callDaemon(path, "/s/m", REQUEST, signal)) {
        expect(message.byteLength).toBe(REQUEST.byteLength);
        break;
      }
      await ended;
    } finally {
      server.close();
    }
  });
});

/** A call to a server that answers so. */
async function call(
  answer: (stream: ServerHttp2Stream) => unknown,
  signal: AbortSignal = new AbortController().signal,
): Promise<Uint8Array[]> {
  await using directory = await openTemporaryDirectory();
  const path = join(directory.path, "daemon.sock");
  const server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    void answer(stream);
  });
  server.listen(path);
  await once(server, "listening");
  try {
    return await collect(callDaemon(path, "/service/method", REQUEST, signal));
  } finally {
    server.close();
  }
}

async function collect(messages: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const message of messages) all.push(message);
  return all;
}
