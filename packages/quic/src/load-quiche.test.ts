import { arch, platform } from "node:os";
import { describe, expect, it } from "vitest";
import { loadFirst, loadQuiche } from "./load-quiche.ts";
import { failureOf } from "./testing/stream-bytes.ts";

describe("loadQuiche", () => {
  it("loads the binding once", async () => {
    expect(await loadQuiche()).toBe(await loadQuiche());
  });

  it("says for which platform no binding loads, and why", async () => {
    expect(
      await failureOf(
        loadFirst({ "@nowhere/quic": nowhere, "node:path": () => import("node:path") }),
      ),
    ).toMatchObject({
      code: "ERR_QUIC_UNAVAILABLE",
      message: expect.stringMatching(
        `${platform()}-${arch()}.*@nowhere/quic.*node:path: not the quiche`,
      ),
    });
  });

  it("goes on to the next candidate", async () => {
    expect(await loadFirst({ "@nowhere/quic": nowhere, quiche: loadQuiche })).toBe(
      await loadQuiche(),
    );
  });
});

function nowhere(): Promise<unknown> {
  return Promise.reject(new Error("Cannot find package"));
}
