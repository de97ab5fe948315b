import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Acceptor } from "./acceptor.ts";
import type { NativeConnection } from "./binding.ts";

const HANDSHAKE_MS = 30_000;

/** A server whose peers do what the test wants. */
class FakeServer {
  acceptedHandshakes = 0;
  /** Calls whose peer has not come. */
  readonly waiting: { succeed: () => void; fail: () => void }[] = [];

  stats(): { acceptedHandshakes: number } {
    return { acceptedHandshakes: this.acceptedHandshakes };
  }

  inboundConnection(): Promise<NativeConnection> {
    return new Promise((resolve, reject) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nobody looks at it
      const connection = { abort: () => {} } as unknown as NativeConnection;
      this.waiting.push({
        succeed: () => resolve(connection),
        fail: () => reject(new Error("authentication failed")),
      });
    });
  }

  /** A peer's handshake begins, if a call waits for one. @returns what ends it */
  begin(): { succeed: () => void; fail: () => void } | undefined {
    const call = this.waiting.shift();
    if (call !== undefined) this.acceptedHandshakes += 1;
    return call;
  }

  /** A first packet that is none. */
  sendJunk(): boolean {
    const call = this.waiting.shift();
    call?.fail();
    return call !== undefined;
  }
}

let server: FakeServer;
let acceptor: Acceptor;
let takenCount: number;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  takenCount = 0;
  acceptor = new Acceptor({
    server,
    onConnection: () => (takenCount += 1),
    handshakeMs: HANDSHAKE_MS,
    now: () => Date.now(),
  });
});
afterEach(() => {
  acceptor.stop();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe("Acceptor", () => {
  it("has calls left after any number of first packets that are none", async () => {
    for (let count = 0; count < 1_000; count += 1) {
      expect(server.sendJunk()).toBe(true);
      await pass(1);
    }
    await pass(1_000);
    expect(server.waiting.length).toBe(16);
  });

  it("has calls left while many handshakes run, after any number of such packets", async () => {
    for (let count = 0; count < 100; count += 1) {
      server.sendJunk();
      await pass(1);
    }
    for (let count = 0; count < 500; count += 1) {
      if (server.begin() === undefined) await pass(250);
    }
    await pass(250);
    expect(server.waiting.length).toBeGreaterThanOrEqual(16);
  });

  it("makes no more than a thousand calls, however many handshakes run", async () => {
    let begunCount = 0;
    for (let count = 0; count < 3_000; count += 1) {
      if (server.begin() === undefined) await pass(250);
      else begunCount += 1;
    }
    expect(begunCount).toBe(1_024);
    await pass(1_000);
    expect(server.waiting.length).toBe(0);
  });

  it("makes few calls again when handshakes have succeeded at once, or failed a while ago", async () => {
    for (let count = 0; count < 200; count += 1) {
      server.begin()?.succeed();
      await pass(10);
    }
    expect(takenCount).toBe(200);
    await pass(500);
    expect(server.waiting.length).toBe(16);
    const running = Array.from({ length: 16 }, () => server.begin());
    await pass(500);
    for (const each of running) each?.fail();
    await pass(500);
    expect(server.waiting.length).toBe(32); // it cannot know that these had begun
    await pass(2 * HANDSHAKE_MS);
    expect(server.waiting.length).toBe(32); // calls that wait cost nothing, and are not taken back
    for (let count = 0; count < 20; count += 1) server.sendJunk();
    await pass(500);
    expect(server.waiting.length).toBe(16);
  });
});
