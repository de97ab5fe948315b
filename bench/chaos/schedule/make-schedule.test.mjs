import { describe, expect, it } from "vitest";
import { LIVE_BYTES_MAX, longest } from "./draw-files.mjs";
import { FAULT_KINDS } from "./fault-kinds.mjs";
import { CHECKPOINT_MS, makeSchedule } from "./make-schedule.mjs";

const SHORT = { start: 1, minutes: 1, peers: 6, only: [] };
const LONG = { start: 2, minutes: 30, peers: 6, only: [] };

describe("makeSchedule", () => {
  it("makes the same of the same options, and something else of another start value", () => {
    expect(makeSchedule(SHORT)).toEqual(makeSchedule(SHORT));
    const { faults, files, downloads } = makeSchedule({ ...SHORT, start: 2 });
    const other = makeSchedule(SHORT);
    expect(faults).not.toEqual(other.faults);
    expect(files).not.toEqual(other.files);
    expect(downloads).not.toEqual(other.downloads);
  });

  it("leaves out the faults that are not wanted, and moves nothing else", () => {
    const all = makeSchedule(LONG);
    const some = makeSchedule({ ...LONG, only: ["kill", "full-disk"] });
    expect(some).toEqual({
      ...all,
      only: some.only,
      faults: all.faults.filter(
        ({ kind }) => FAULT_KINDS[kind].group === "kill" || kind === "full-disk",
      ),
    });
    expect(some.faults.length).toBeGreaterThan(10);
  });

  it("has every kind of fault, and every way of downloading, in a long run", () => {
    const { faults, downloads, files } = makeSchedule(LONG);
    expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(Object.keys(FAULT_KINDS)));
    expect(new Set(downloads.map(({ mode }) => mode))).toEqual(
      new Set(["file", "stdout", "range", "transfer", "digest"]),
    );
    for (const manner of ["leaves", "sleeps", "revalidates", "timeoutSeconds", "keeps"])
      expect(downloads.some((download) => download[manner] !== undefined)).toBe(true);
    expect(files.some(({ changes }) => changes.length > 1)).toBe(true);
    expect(Math.max(...files.map(longest))).toBeGreaterThan(100 * 2 ** 20);
    expect(files.some(({ length }) => length === 0)).toBe(true);
  });

  it("has nothing go wrong before everybody is warm, at checkpoints, and at the end", () => {
    const { faults, checkpoints, endMs } = makeSchedule(LONG);
    expect(checkpoints).toHaveLength(5);
    const calm = [
      { fromMs: 0, untilMs: 5_000 },
      ...checkpoints.map(({ atMs }) => ({ fromMs: atMs, untilMs: atMs + CHECKPOINT_MS })),
      { fromMs: endMs, untilMs: Number.POSITIVE_INFINITY },
    ];
    const late = faults.filter(({ atMs, durationMs }) =>
      calm.some(({ fromMs, untilMs }) => atMs < untilMs && atMs + durationMs > fromMs),
    );
    expect(late).toEqual([]);
  });

  it("does to one thing one thing at a time, and nothing to the steady node's processes", () => {
    const { faults, steady } = makeSchedule(LONG);
    const until = new Map();
    const wrong = faults.filter(({ atMs, durationMs, kind, target, isDown }) => {
      const { holds } = FAULT_KINDS[kind];
      if (holds === "none") return false;
      const thing = `${holds} ${["lie", "split", "origin-error"].includes(kind) ? "" : target}`;
      const isHeld = (until.get(thing) ?? 0) > atMs;
      until.set(thing, atMs + durationMs);
      return isHeld || (holds === "process" && target === steady && isDown !== false);
    });
    expect(wrong).toEqual([]);
  });

  it("asks only for what is there, and for parts within it", () => {
    const { files, downloads, nodes } = makeSchedule(LONG);
    const byName = new Map(files.map((file) => [file.name, file]));
    expect(byName.size).toBe(files.length);
    const wrong = downloads.filter(({ file: name, atMs, phase, node, mode, range }) => {
      const file = byName.get(name);
      if (!nodes.includes(node)) return true;
      if (phase === "storm" && atMs < file.bornMs) return true;
      return mode === "range" && !(range.from <= range.to && range.to < file.length);
    });
    expect(wrong).toEqual([]);
  });

  it("never has more about than a node's disk holds", () => {
    const { files } = makeSchedule(LONG);
    const live = files.map(({ bornMs }) =>
      files
        .filter((file) => file.bornMs <= bornMs && file.dyingMs > bornMs)
        .reduce((sum, file) => sum + longest(file), 0),
    );
    expect(Math.max(...live)).toBeLessThanOrEqual(LIVE_BYTES_MAX);
  });

  it("ends with every node asking for a new file", () => {
    const { downloads, nodes } = makeSchedule(SHORT);
    const last = downloads.filter(({ file }) => file === "recovery");
    expect(last.map(({ node }) => node).toSorted()).toEqual(nodes.toSorted());
  });
});
