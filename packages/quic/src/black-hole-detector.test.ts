import { describe, expect, it } from "vitest";
import { BlackHoleDetector } from "./black-hole-detector.ts";

describe("BlackHoleDetector", () => {
  it("suspects silence after long packets, once it has lasted", () => {
    const detector = new BlackHoleDetector();
    detector.onLongSent(1350);
    expect([0, 50, 150, 299, 300].map((now) => detector.onTimeout(now))).toEqual([
      false,
      false,
      false,
      false,
      true,
    ]);
  });

  it("does not suspect the path when only short packets were sent", () => {
    const detector = new BlackHoleDetector();
    expect([0, 1_000, 2_000, 3_000].some((now) => detector.onTimeout(now))).toBe(false);
  });

  it("begins anew with every packet that comes in", () => {
    const detector = new BlackHoleDetector();
    for (let now = 0; now < 10_000; now += 1_000) {
      detector.onLongSent(1350);
      expect(detector.onTimeout(now)).toBe(false);
      expect(detector.onTimeout(now + 500)).toBe(false);
      detector.onReceived();
    }
  });

  /** Sends `sent` long packets and hears that bytes got lost, in a window of 250 ms. */
  function createWindows(): (window: { sent: number; lost: number; rttMs?: number }) => boolean {
    const detector = new BlackHoleDetector();
    let now = 0;
    let lostBytes = 0;
    detector.reset(now, lostBytes);
    return ({ sent, lost, rttMs = 1 }) => {
      now += 250;
      lostBytes += lost * 1350;
      for (let count = 0; count < sent; count++) detector.onLongSent(1350);
      return detector.isWindowOver(now, 1350) && detector.onWindow(now, { lostBytes, rttMs });
    };
  }

  it("suspects the loss of nearly all long packets, whatever else arrives", () => {
    const pass = createWindows();
    expect(pass({ sent: 1000, lost: 0 })).toBe(false);
    expect(pass({ sent: 100, lost: 600 })).toBe(false);
    expect(pass({ sent: 20, lost: 90 })).toBe(true);
  });

  it("suspects it also where few are sent, and slowly", () => {
    const pass = createWindows();
    expect(Array.from({ length: 6 }, () => pass({ sent: 1, lost: 1 }))).toEqual([
      false,
      false,
      false,
      true,
      false,
      true,
    ]);
  });

  it("gives a long round trip its time", () => {
    const pass = createWindows();
    expect(
      Array.from({ length: 6 }, () => pass({ sent: 10, lost: 9, rttMs: 600 })).indexOf(true),
    ).toBe(5);
  });

  it("bears a path that loses every other packet, and a late bill for a burst", () => {
    const pass = createWindows();
    for (let round = 1; round < 100; round++) expect(pass({ sent: 80, lost: 40 })).toBe(false);
    expect(pass({ sent: 1000, lost: 0 })).toBe(false);
    expect(pass({ sent: 4, lost: 500 })).toBe(false);
  });

  it("begins anew when packets have become shorter", () => {
    const detector = new BlackHoleDetector();
    detector.onLongSent(1350);
    detector.onTimeout(0);
    detector.onTimeout(400);
    detector.reset(500, 100_000);
    detector.onLongSent(1350);
    expect(detector.onTimeout(600)).toBe(false);
    expect(detector.onTimeout(700)).toBe(false);
    expect(detector.isWindowOver(800, 1350)).toBe(false);
  });
});
