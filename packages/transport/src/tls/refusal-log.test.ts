import { describe, expect, it } from "vitest";
import { RefusalLog } from "./refusal-log.ts";

function open() {
  const lines: string[] = [];
  const log = new RefusalLog({ warn: (_, message) => void lines.push(message) });
  /** Whether it is said that this peer is refused. */
  const says = (name: number): boolean => {
    const before = lines.length;
    log.say("Cannot serve a child", { fault: "revoked", reason: `${name} is revoked` }, undefined);
    return lines.length > before;
  };
  return { lines, says };
}

describe("RefusalLog", () => {
  it("says once what keeps a peer out, however often it comes", () => {
    const { lines, says } = open();
    for (let count = 0; count < 1_000; count += 1) says(7);
    expect(lines).toEqual(["Cannot serve a child: 7 is revoked (said once)"]);
  });

  it("remembers a thousand refusals; beyond that they are said again", () => {
    const { lines, says } = open();
    for (let name = 1; name <= 1_000; name += 1) says(name);
    for (let name = 1; name <= 1_000; name += 1) expect(says(name)).toBe(false);
    expect(lines).toHaveLength(1_000);
    expect([says(1_001), says(1), says(1_001)]).toEqual([true, true, false]);
    for (let name = 2_001; name <= 100_000; name += 1) says(name);
    expect([says(100_000), says(99_000)]).toEqual([false, true]);
  });
});
