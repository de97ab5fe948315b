import { describe, expect, it } from "vitest";

import { planTransfer } from "./transfer-plan.ts";
import { hostOfPeer, TransferTally } from "./transfer-tally.ts";

const uuid = "0d8b0a3c-9e6f-4d3e-8a8c-2f7a3a9f1b11";
const plan = planTransfer(
  {
    contentLength: 25,
    pieces: [0, 1, 2].map((number) => ({
      number,
      offset: number * 10,
      length: number === 2 ? 5 : 10,
    })),
  },
  undefined,
);

describe("TransferTally", () => {
  it("adds up bytes by where they came from, each piece once", () => {
    const tally = new TransferTally(plan);
    expect(tally.add(2, { kind: "parent", peerId: `10.0.0.1-a-${uuid}` })).toBe(true);
    expect(tally.add(2, { kind: "origin" })).toBe(false);
    expect(tally.add(9, { kind: "origin" })).toBe(false);
    tally.add(0, { kind: "parent", peerId: `10.0.0.2-b-${uuid}-seed` });
    expect([...tally.missing]).toEqual([1]);
    tally.add(1, { kind: "local" });
    expect(tally.state).toEqual({
      length: 25,
      done: 25,
      pieceCount: 3,
      piecesDone: 3,
      fromOrigin: 0,
      fromLocal: 10,
      fromParents: [
        ["10.0.0.2-b-seed", 10],
        ["10.0.0.1-a", 5],
      ],
    });
  });
});

describe("hostOfPeer", () => {
  it("leaves out what is new in every task, and leaves alone what is no peer id", () => {
    expect(hostOfPeer(`10.0.0.1-my-host-${uuid}`)).toBe("10.0.0.1-my-host");
    expect(hostOfPeer("parent")).toBe("parent");
  });
});
