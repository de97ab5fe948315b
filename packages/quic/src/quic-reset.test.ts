import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createTestAuthority } from "@damselfly/rpc/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QuicConnection, QuicEndpointOptions } from "./quic.ts";
import { openQuicEndpoint } from "./quiche-endpoint.ts";
import { LOOPBACK } from "./testing/open-pair.ts";
import { Relay } from "./testing/relay.ts";
import { failureOf, readAll, serveEcho } from "./testing/stream-bytes.ts";

const COMMON = { address: LOOPBACK, alpn: "test", tls: "insecure" } as const;

async function ask(connection: QuicConnection, text: string): Promise<string> {
  const stream = connection.openStream();
  await stream.end(Buffer.from(text));
  return (await readAll(stream)).toString();
}

/** A connection whose server dies without a word and comes back at the same port with `after`. */
async function withRestart(
  before: Partial<QuicEndpointOptions>,
  after: Partial<QuicEndpointOptions>,
  client: Partial<QuicEndpointOptions>,
  test: (restarted: {
    readonly old: QuicConnection;
    /** Waits until the new server has seen, and answered, what the old connection sends. */
    readonly untilAnswered: () => Promise<void>;
    /** A new connection between the same two ports. */
    readonly dial: () => Promise<QuicConnection>;
  }) => Promise<void>,
): Promise<void> {
  const first = await openQuicEndpoint({ ...COMMON, ...before, accept: serveEcho });
  const dialling = await openQuicEndpoint({ ...COMMON, ...client });
  const old = await dialling.dial(first.address);
  expect(await ask(old, "hello")).toBe("hello");
  await first.abort();
  const second = await openQuicEndpoint({
    ...COMMON,
    ...after,
    address: first.address,
    accept: serveEcho,
  });
  try {
    await test({
      old,
      untilAnswered: () =>
        expect.poll(() => second.stats().resetSentCount, { timeout: 10_000 }).toBeGreaterThan(0),
      dial: () => dialling.dial(second.address),
    });
  } finally {
    await dialling[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
  }
}

describe("stateless reset", () => {
  it("tells a dialler at once that its peer was restarted under the same certificate", async () => {
    const tls = await (await createTestAuthority()).issue();
    await withRestart({ tls }, { tls }, { tls }, async ({ old, dial }) => {
      const failure = failureOf(ask(old, "still there?"));
      expect(await old.closed).toMatchObject({ by: "reset", isApplication: false });
      expect(await failure).toMatchObject({
        code: "ERR_CONNECTION_LOST",
        message: expect.stringContaining("the peer knows nothing of the connection"),
      });
      expect(await ask(await dial(), "hello again")).toBe("hello again");
    });
  });

  it("works without certificates where a key is given", async () => {
    const resetKey = Buffer.alloc(16, 1);
    await withRestart({ resetKey }, { resetKey }, {}, async ({ old }) => {
      const failure = failureOf(ask(old, "still there?"));
      expect(await old.closed).toMatchObject({ by: "reset" });
      await failure;
    });
  });

  it("is believed only with the right key", async () => {
    await withRestart({}, {}, {}, async ({ old, untilAnswered, dial }) => {
      const failure = failureOf(ask(old, "still there?"));
      await untilAnswered();
      expect(await ask(await dial(), "hello again")).toBe("hello again");
      expect(old.isOpen).toBe(true);
      old.close(0);
      await failure;
    });
  });

  it("is not mistaken in what else comes from the peer's address", async () => {
    const server = await openQuicEndpoint({ ...COMMON, accept: serveEcho });
    const client = await openQuicEndpoint(COMMON);
    const relay = await Relay.open(server.address);
    const connection = await client.dial(relay.address);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 1500 }), (bytes) => {
        const junk = Buffer.from(bytes);
        junk[0] = 0x40 | ((junk[0] ?? 0) & 0x3f);
        relay.sendToClient(junk);
      }),
      { numRuns: 200 },
    );
    expect(await ask(connection, "hello")).toBe("hello");
    expect(client.stats().resetSentCount).toBe(0); // nobody takes connections here
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await relay.close();
  });

  it("answers what is long enough not to be one itself, with less", async () => {
    const server = await openQuicEndpoint({ ...COMMON, accept: serveEcho });
    const stranger = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(stranger, "listening");
    const answers: number[] = [];
    stranger.on("message", (answer) => answers.push(answer.byteLength));
    for (const length of [1, 17, 21, 22, 43, 1200]) {
      const packet = randomBytes(length);
      packet[0] = 0x40;
      stranger.send(packet, server.address.port, server.address.ip);
    }
    await expect.poll(() => answers.length).toBe(3);
    answers.sort((a, b) => a - b); // 21, one for 43 bytes, one for 1200
    expect(answers[0]).toBe(21);
    expect(answers[1]).toBeGreaterThanOrEqual(42);
    expect(answers[2]).toBeLessThanOrEqual(64);
    expect(server.stats()).toMatchObject({ resetSentCount: 3, droppedDatagramCount: 3 });
    stranger.close();
    await server[Symbol.asyncDispose]();
  });

  it("rejects a key that is too short", async () => {
    const opening = openQuicEndpoint({ ...COMMON, resetKey: Buffer.alloc(15) });
    expect(await failureOf(opening)).toBeInstanceOf(RangeError);
  });
});
