import { expect, it } from "vitest";
import { type OpenFixture, withFixture } from "./fixture.ts";
import { createGate } from "./gate.ts";
import { codeOf, readPiece } from "./read-piece.ts";
import { sleep } from "./sleep.ts";

export function testLifetime(open: OpenFixture): void {
  it("says which protocol it speaks and where it listens", async () => {
    await withFixture(open, {}, async ({ downloader, parent, server }) => {
      expect(downloader.protocol).toBe(server.protocol);
      expect([parent.ports[server.protocol]].flat()).toContain(server.address.port);
    });
  });

  it("finishes the pieces that run when the server is closed, and takes no more", async () => {
    const timeouts = { connectMs: 1_000, announceMs: 2_000, stallMs: 10_000 };
    await withFixture(open, { timeouts }, async ({ downloader, parent, server }, source) => {
      const held = createGate();
      const pause = (): Promise<void> => held.opened;
      const running = source.add(0, { length: 1_000_000, pauseAt: 500_000, pause });
      const download = await downloader.downloadPiece(parent, running);
      const closing = server[Symbol.asyncDispose]();
      const late = await codeOf(downloader.downloadPiece(parent, source.add(1, { length: 1 })));
      expect(["ERR_PARENT_BUSY", "ERR_PARENT_UNREACHABLE", "ERR_PARENT_FAILED"]).toContain(late);

      held.open();
      expect(await readPiece(download)).toBe(1_000_000);
      await closing;
      await server[Symbol.asyncDispose]();
    });
  });

  it("gives up a connection that nobody uses, and opens another when needed", async (test) => {
    await withFixture(open, { idleTimeoutMs: 200 }, async (fixture, source) => {
      const { downloader, parent } = fixture;
      test.skip(fixture.openConnections === undefined, "it has no connections");
      const request = source.add(0, { length: 100_000 });
      expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(100_000);
      await expect.poll(() => fixture.openConnections?.(), { timeout: 10_000 }).toBe(0);
      expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(100_000);
    });
  });

  it("keeps a connection while a piece runs on it, however quiet", async (test) => {
    await withFixture(open, { idleTimeoutMs: 200 }, async (fixture, source) => {
      test.skip(fixture.openConnections === undefined, "it has no connections");
      const held = createGate();
      const pause = (): Promise<void> => held.opened;
      const request = source.add(0, { length: 100_000, pauseAt: 50_000, pause });
      const download = await fixture.downloader.downloadPiece(fixture.parent, request);
      const reading = readPiece(download);
      await sleep(800);
      expect(fixture.openConnections?.()).toBeGreaterThan(0);
      held.open();
      expect(await reading).toBe(100_000);
    });
  });

  it("uses few connections for many pieces", async (test) => {
    await withFixture(open, {}, async (fixture, source) => {
      test.skip(fixture.openConnections === undefined, "it has no connections");
      const { downloader, parent } = fixture;
      const request = source.add(0, { length: 1000 });
      for (let round = 0; round < 20; round += 1) {
        expect(await readPiece(await downloader.downloadPiece(parent, request))).toBe(1000);
      }
      expect(fixture.openConnections?.()).toBeLessThanOrEqual(8);
    });
  });
}
