import type { ParentAddress } from "@damselfly/transport";
import type { QuicBackend } from "@damselfly/transport-quic";
import { describe, expect, it } from "vitest";
import { BackendChoice } from "./backend-choice.ts";

const MIB = 1024 * 1024;
const PARENT: ParentAddress = {
  hostId: "parent",
  ip: "192.0.2.7",
  ports: { quic: [4006] },
  quinn: { port: 4008, key: "12D3KooW" },
};
const CLEAN = { rttMs: 1, sentPacketCount: 100_000, lostPacketCount: 3 };

function open(hop: { isOwnMachine?: boolean; mtu?: number } = {}, now?: () => number) {
  const firstHop = { isOwnMachine: false, mtu: 1500, ...hop };
  return new BackendChoice({ firstHopTo: () => firstHop, ...(now === undefined ? {} : { now }) });
}

/** Fetches pieces at these rates, in MiB a second. Says which backend each took. */
function fetchAt(
  choice: BackendChoice,
  rates: Record<QuicBackend, number>,
  count: number,
): QuicBackend[] {
  return Array.from({ length: count }, () => {
    const [backend = "quiche"] = choice.order(PARENT, () => CLEAN);
    choice.measured(PARENT, backend, { length: 4 * MIB, durationMs: 4000 / rates[backend] });
    return backend;
  });
}

const shareOfQuinn = (taken: QuicBackend[]): number =>
  taken.filter((backend) => backend === "quinn").length / taken.length;

describe("BackendChoice", () => {
  it("takes what the parent offers, if it is one", () => {
    const { quinn, ...certified } = PARENT;
    expect(open().order(certified, () => undefined)).toEqual(["quiche"]);
    expect(open().order({ ...PARENT, ports: {} }, () => undefined)).toEqual(["quinn"]);
    expect(quinn).toBeDefined();
  });

  it.each([
    ["on the same machine", { isOwnMachine: true }, CLEAN],
    ["over jumbo frames", { mtu: 9000 }, CLEAN],
    ["far away", {}, { ...CLEAN, rttMs: 6 }],
    ["behind a lossy path", {}, { ...CLEAN, lostPacketCount: 1_000 }],
  ])("takes quiche to a parent %s", (_, hop, path) => {
    const choice = open(hop);
    for (let piece = 0; piece < 20; piece++) {
      const [backend] = choice.order(PARENT, () => path);
      expect(backend).toBe("quiche");
    }
  });

  it("does not call a path lossy for a few packets", () => {
    const choice = open();
    const path = { rttMs: 0, sentPacketCount: 20, lostPacketCount: 2 };
    const first = [choice.order(PARENT, () => path)[0], choice.order(PARENT, () => path)[0]];
    expect(first).toEqual(["quiche", "quinn"]);
  });

  it.each(["quiche", "quinn"] as const)("finds out that %s is faster", (faster) => {
    const choice = open();
    const rates = { quiche: 100, quinn: 100, [faster]: 200 };
    const trial = fetchAt(choice, rates, 8);
    expect(shareOfQuinn(trial)).toBe(0.5);
    const share = shareOfQuinn(fetchAt(choice, rates, 1000));
    expect(faster === "quinn" ? share : 1 - share).toBeGreaterThan(0.95);
    expect(faster === "quinn" ? share : 1 - share).toBeLessThan(1); // the other is not forgotten
  });

  it("changes its mind when the other has become faster", () => {
    const choice = open();
    fetchAt(choice, { quiche: 100, quinn: 200 }, 100);
    fetchAt(choice, { quiche: 100, quinn: 50 }, 100);
    expect(shareOfQuinn(fetchAt(choice, { quiche: 100, quinn: 50 }, 100))).toBeLessThan(0.05);
  });

  it("does not call a path long for what runs on it", () => {
    const choice = open();
    let rttMs = 0;
    const order = () => choice.order(PARENT, () => ({ ...CLEAN, rttMs: (rttMs += 3) }))[0];
    expect(new Set([order(), order(), order(), order()])).toEqual(new Set(["quiche", "quinn"]));
  });

  it("leaves quinn out until a path is seen to be short, but not for ever", () => {
    const choice = open();
    const taken = Array.from({ length: 12 }, () => choice.order(PARENT, () => undefined)[0]);
    expect(taken.slice(0, 8)).toEqual(Array.from({ length: 8 }, () => "quiche"));
    expect(new Set(taken.slice(8))).toEqual(new Set(["quiche", "quinn"]));
    const seen = open();
    expect(seen.order(PARENT, () => undefined)[0]).toBe("quiche");
    expect(seen.order(PARENT, () => CLEAN)[0]).toBe("quinn");
  });

  it("tries both although nothing is measured yet, and does not measure crumbs", () => {
    const choice = open();
    const taken = Array.from({ length: 10 }, () => choice.order(PARENT, () => CLEAN)[0]);
    expect(new Set(taken)).toEqual(new Set(["quiche", "quinn"]));
    for (let piece = 0; piece < 10; piece++) {
      choice.measured(PARENT, "quinn", { length: 1000, durationMs: 1 });
    }
    expect(choice.order(PARENT, () => CLEAN)[0]).toBe("quiche");
    expect(choice.order(PARENT, () => CLEAN)[0]).toBe("quinn");
  });

  it("goes round the one that does not get through, for a minute", () => {
    let now = 1_000;
    const choice = open({}, () => now);
    expect(choice.failed(PARENT, "quinn")).toBe(true);
    expect(choice.failed(PARENT, "quinn")).toBe(false);
    for (let piece = 0; piece < 4; piece++) {
      expect(choice.order(PARENT, () => CLEAN)).toEqual(["quiche"]);
    }
    choice.failed(PARENT, "quiche");
    expect(choice.order(PARENT, () => CLEAN)).toHaveLength(2); // better than nothing
    now += 60_001;
    expect(choice.order(PARENT, () => CLEAN)).toHaveLength(2);
  });

  it("remembers ten thousand parents, and forgets the one that was asked the longest ago", () => {
    const choice = open({}, () => 0);
    /** Whether nothing is known of its failing. */
    const fails = (name: number): boolean =>
      choice.failed({ ...PARENT, hostId: `parent-${name}` }, "quinn");
    for (let name = 0; name < 10_000; name += 1) expect(fails(name)).toBe(true);
    expect([fails(0), fails(2)]).toEqual([false, false]);
    expect(fails(10_000)).toBe(true);
    expect([fails(0), fails(1)]).toEqual([false, true]);
    for (let name = 20_000; name < 120_000; name += 1) fails(name);
    expect([fails(110_000), fails(109_999), fails(0)]).toEqual([false, true, true]);
  });
});
