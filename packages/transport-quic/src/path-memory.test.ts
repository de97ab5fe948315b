import { beforeEach, describe, expect, it } from "vitest";
import { PathMemory } from "./path-memory.ts";

const MINUTE_MS = 60_000;
const PEER = "peer";

let nowMs = 0;
let memory: PathMemory;

beforeEach(() => {
  nowMs = 1_000;
  memory = new PathMemory({ now: () => nowMs });
  memory.meet(PEER, "10.0.0.1");
});

describe("PathMemory", () => {
  it("guesses a long path at first, but never one to this machine itself", () => {
    expect([memory.isHard(PEER), memory.wishFor(PEER)]).toEqual([undefined, "bbr"]);
    for (const ip of ["127.0.0.1", "127.9.9.9", "::1"]) {
      memory.meet(ip, ip);
      memory.noteRtt(ip, 300); // a busy machine
      expect([memory.isHard(ip), memory.wishFor(ip)]).toEqual([false, "cubic"]);
    }
  });

  it("wishes for cubic at the delay of a LAN, and for BBR above", () => {
    memory.noteRtt(PEER, 6);
    expect([memory.isHard(PEER), memory.wishFor(PEER)]).toEqual([true, "bbr"]);
    memory.noteRtt(PEER, 0);
    expect([memory.isHard(PEER), memory.wishFor(PEER)]).toEqual([false, "cubic"]);
  });

  it("goes by the least round trip: queues and busy processes only lengthen it", () => {
    memory.noteRtt(PEER, 1);
    memory.noteRtt(PEER, 80);
    expect(memory.isHard(PEER)).toBe(false);
  });

  it("notices in time that the path has become longer", () => {
    memory.noteRtt(PEER, 1);
    nowMs += 6 * MINUTE_MS;
    memory.noteRtt(PEER, 80);
    expect(memory.isHard(PEER)).toBe(false);
    nowMs += 6 * MINUTE_MS;
    memory.noteRtt(PEER, 80);
    expect(memory.isHard(PEER)).toBe(true);
  });

  it("starts afresh after a long time without a contact", () => {
    memory.noteRtt(PEER, 1);
    nowMs += 11 * MINUTE_MS;
    memory.noteRtt(PEER, 80);
    expect(memory.isHard(PEER)).toBe(true);
  });

  it("wishes for BBR where a peer has seen losses, and doubts it after ten minutes", () => {
    memory.noteRtt(PEER, 0);
    memory.noteLoss(PEER);
    expect([memory.isHard(PEER), memory.wishFor(PEER)]).toEqual([true, "bbr"]);
    nowMs += 9 * MINUTE_MS;
    expect(memory.wishFor(PEER)).toBe("bbr");
    nowMs += 2 * MINUTE_MS;
    expect(memory.wishFor(PEER)).toBe("cubic");
  });

  it("takes another bound for what a LAN is, also on this machine", () => {
    memory = new PathMemory({ now: () => nowMs, lanRttMs: 20 });
    memory.meet(PEER, "127.0.0.1");
    memory.noteRtt(PEER, 21);
    expect(memory.isHard(PEER)).toBe(true);
    memory.noteRtt(PEER, 20);
    expect(memory.isHard(PEER)).toBe(false);
  });

  it("keeps the width and the ticket of each peer", () => {
    memory.meet("other", "10.0.0.2");
    memory.noteWidth(PEER, 4);
    memory.noteTicket(PEER, Uint8Array.of(7));
    memory.meet(PEER, "10.0.0.1"); // again
    expect([memory.widthOf(PEER), memory.widthOf("other")]).toEqual([4, 1]);
    expect([memory.ticketOf(PEER), memory.ticketOf("other")]).toEqual([
      Uint8Array.of(7),
      undefined,
    ]);
    memory.noteTicket(PEER, undefined);
    expect(memory.ticketOf(PEER)).toBeUndefined();
  });

  it("knows nothing of a peer that it has not met, and takes nothing down about it", () => {
    memory.noteRtt("stranger", 1);
    memory.noteLoss("stranger");
    memory.noteWidth("stranger", 8);
    memory.noteTicket("stranger", Uint8Array.of(1));
    expect([memory.isHard("stranger"), memory.widthOf("stranger")]).toEqual([undefined, 1]);
    expect(memory.ticketOf("stranger")).toBeUndefined();
  });
});
