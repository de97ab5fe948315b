import { describe, expect, it } from "vitest";
import { carriersFor, loadFirst } from "./load-quinn.ts";

describe("loadQuinn", () => {
  it("looks for the package of the platform", () => {
    const name = "@chainsafe/libp2p-quic";
    expect(carriersFor("linux", "arm64")).toEqual([
      `${name}-linux-arm64-gnu`,
      `${name}-linux-arm64-musl`,
    ]);
    expect(carriersFor("win32", "x64")).toEqual([`${name}-win32-x64-msvc`]);
    expect(carriersFor("darwin", "arm64")).toEqual([`${name}-darwin-arm64`]);
  });

  it("says what each candidate answered when none will do", () => {
    const load = (): unknown => loadFirst(["node:path", "@damselfly/none"]);
    expect(load).toThrow(/node:path: not the quinn binding; @damselfly\/none: Cannot find module/);
    expect(load).toThrow(expect.objectContaining({ code: "ERR_QUIC_UNAVAILABLE" }));
  });
});
