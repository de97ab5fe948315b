import { networkInterfaces } from "node:os";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { localInterfaces } from "./local-interfaces.ts";
import { withPair } from "./testing/open-pair.ts";
import { readAll, serveEcho } from "./testing/stream-bytes.ts";

vi.mock(import("node:os"), async (original) => {
  const os = await original();
  return { ...os, networkInterfaces: vi.fn(os.networkInterfaces) };
});

function failToSay(): never {
  throw new Error(
    "A system error occurred: uv_interface_addresses returned Unknown system error 24",
  );
}

beforeEach(() => {
  vi.mocked(networkInterfaces).mockReset();
});

describe("a process that is out of descriptors, which the list of interfaces takes", () => {
  it("dials and is dialled all the same", async () => {
    vi.mocked(networkInterfaces).mockImplementation(failToSay);
    expect(localInterfaces()).toEqual([]);
    await withPair({ both: { udp: "dgram" } }, async ({ dialled, accepted }) => {
      serveEcho(accepted);
      const stream = dialled.openStream();
      await stream.end(Buffer.from("hello"));
      expect((await readAll(stream)).toString()).toBe("hello");
    });
    expect(networkInterfaces).toHaveBeenCalled();
  });

  it("goes on with the interfaces that it knows, and asks again", () => {
    const now = performance.now();
    const known = localInterfaces(now + 60_000);
    expect(known.some(({ ip }) => ip === "127.0.0.1")).toBe(true);
    vi.mocked(networkInterfaces).mockImplementation(failToSay);
    expect(localInterfaces(now + 120_000)).toBe(known);
    vi.mocked(networkInterfaces).mockReset();
    const again = localInterfaces(now + 180_000);
    expect(again).not.toBe(known);
    expect(again.length).toBe(known.length);
  });
});
