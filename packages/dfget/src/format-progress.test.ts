import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { formatBar, formatProgressLine, formatShares, formatSummary } from "./format-progress.ts";
import type { TransferState } from "./transfer-tally.ts";

const MIB = 1024 * 1024;
const state: TransferState = {
  length: 1000 * MIB,
  done: 400 * MIB,
  pieceCount: 250,
  piecesDone: 100,
  fromOrigin: 100 * MIB,
  fromLocal: 0,
  fromParents: [
    ["10.0.0.1-a", 200 * MIB],
    ["10.0.0.2-b", 100 * MIB],
  ],
};
const view = { label: "model.safetensors", state, rate: 300 * MIB };
const plain = { unicode: false, color: false };

describe("formatBar", () => {
  it("shows everything where there is room", () => {
    expect(formatBar(view, { columns: 140, ...plain })).toBe(
      "model.safetensors   40%  ================>                         400/1000 MiB  300 MiB/s  0:02  origin 25% · 2 peers 75%",
    );
    expect(formatBar(view, { columns: 140, unicode: true, color: false })).toContain(
      "━━━━━━━━━━━━━━━━╸───────────────────────",
    );
  });

  it("leaves out the sources first, then the time, then the bar", () => {
    const at = (columns: number) => formatBar(view, { columns, ...plain });
    expect(at(80)).toBe(
      "model.safetensors   40%  =========>               400/1000 MiB  300 MiB/s  0:02",
    );
    expect(at(66)).toBe("model.safetensors   40%  ======>          400/1000 MiB  300 MiB/s");
    expect(at(20)).toBe("….safetensors   40%");
  });

  it("is full only at the end", () => {
    const full = formatBar(
      { ...view, state: { ...state, done: state.length } },
      { columns: 80, ...plain },
    );
    expect(full).toContain(" 100%  ====================");
    expect(full).not.toContain(">");
  });

  it("colours the bar without changing its text", () => {
    const colored = formatBar(view, { columns: 100, unicode: true, color: true });
    // oxlint-disable-next-line no-control-regex -- the escape sequences are what is taken out.
    expect(colored.replaceAll(/\u001b\[\d+m/g, "")).toBe(
      formatBar(view, { columns: 100, unicode: true, color: false }),
    );
  });

  it("always fits the terminal, whatever is named and counted", () => {
    const bytes = fc.nat(Number.MAX_SAFE_INTEGER);
    fc.assert(
      fc.property(
        fc.string(),
        bytes,
        bytes,
        bytes,
        fc.integer({ min: 11, max: 300 }),
        (label, left, right, rate, columns) => {
          const length = Math.max(left, right);
          const line = formatBar(
            { label, state: { ...state, length, done: Math.min(left, right) }, rate },
            { columns, ...plain },
          );
          expect(Array.from(line).length).toBeLessThan(columns);
        },
      ),
    );
  });

  it("does not let a name steer the terminal", () => {
    expect(formatBar({ ...view, label: "a\u001b[2Jb\n" }, { columns: 80, ...plain })).toMatch(
      /^a\ufffd\[2Jb\ufffd {2}/,
    );
  });
});

describe("formatProgressLine", () => {
  it("says the same without a bar", () => {
    expect(formatProgressLine(view)).toBe(
      "model.safetensors: 40% (400/1000 MiB), 300 MiB/s, 0:02 left, origin 25% · 2 peers 75%",
    );
    expect(
      formatProgressLine({
        ...view,
        rate: 0,
        state: { ...state, done: 0, fromOrigin: 0, fromParents: [] },
      }),
    ).toBe("model.safetensors: 0% (0/1000 MiB), 0 B/s");
  });
});

describe("formatShares", () => {
  it("counts what was on disk apart", () => {
    expect(formatShares({ ...state, fromOrigin: 0, fromLocal: 100 * MIB })).toBe(
      "on disk 25% · 2 peers 75%",
    );
    expect(
      formatShares({ ...state, fromOrigin: 0, fromLocal: 0, fromParents: [["a", state.done]] }),
    ).toBe("1 peer 100%");
  });
});

describe("formatSummary", () => {
  const done = {
    ...state,
    done: state.length,
    fromLocal: 100 * MIB,
    fromOrigin: 500 * MIB,
    fromParents: [["10.0.0.1-a", 400 * MIB]] as const,
  };

  it("says how much, how fast and from where", () => {
    expect(formatSummary({ label: "m", state: done, durationMs: 2500 })).toBe(
      "m: 1000 MiB in 2.50 s (400 MiB/s): 10% already on disk, 50% from the origin, 40% from 1 peer (10.0.0.1-a 400 MiB)",
    );
  });

  it("says that nothing had to be fetched", () => {
    const local = { ...done, fromLocal: done.length, fromOrigin: 0, fromParents: [] };
    expect(formatSummary({ label: "m", state: local, durationMs: 10 })).toMatch(
      /it was on disk already$/,
    );
    expect(
      formatSummary({ label: "m", state: { ...local, length: 0, fromLocal: 0 }, durationMs: 0 }),
    ).toBe("m: 0 B in 0.00 s: an empty file");
  });

  it("names no more parents than a line can take", () => {
    const fromParents = Array.from({ length: 20 }, (_, index) => [`p${index}`, 1] as const);
    expect(
      formatSummary({ label: "m", state: { ...done, fromParents }, durationMs: 10 }),
    ).toContain("p7 1 B, 12 more)");
  });
});
