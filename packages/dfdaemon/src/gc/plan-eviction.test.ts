import type { Lack, StorageUsage, TaskUsage } from "@damselfly/storage";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planEviction, type EvictionPolicy } from "./plan-eviction.ts";

const NOW_MS = 1_000_000;
const POLICY: EvictionPolicy = {
  taskTtlMs: 900_000,
  quotaBytes: 0,
  highPercent: 80,
  lowPercent: 60,
};

function task(id: number, fields: Partial<TaskUsage> = {}): TaskUsage {
  const bytes = fields.bytes ?? 100;
  return {
    taskId: id.toString(16).padStart(64, "0"),
    bytes,
    freeableBytes: bytes,
    usedAtMs: NOW_MS - 1000 + id,
    pinned: false,
    busy: false,
    ...fields,
  };
}

function usage(tasks: readonly TaskUsage[], fields: Partial<StorageUsage> = {}): StorageUsage {
  const bytes = tasks.reduce((sum, each) => sum + each.bytes, 0);
  return { tasks, bytes, reservedBytes: 0, disk: { totalBytes: 1000, freeBytes: 500 }, ...fields };
}

function idsOf(plan: ReturnType<typeof planEviction>): number[] {
  return plan.evictions.map(({ taskId }) => Number.parseInt(taskId, 16));
}

describe("planEviction", () => {
  it("deletes nothing below the high mark", () => {
    const disk = { totalBytes: 1000, freeBytes: 201 };
    const plan = planEviction(usage([task(1), task(2)], { disk }), POLICY, { nowMs: NOW_MS });
    expect(plan).toEqual({ evictions: [], shortBytes: 0 });
  });

  it("goes down to the low mark from the high one on, the least recently used first", () => {
    const tasks = [3, 1, 4, 2].map((id) => task(id));
    const disk = { totalBytes: 1000, freeBytes: 200 };
    const plan = planEviction(usage(tasks, { disk }), POLICY, { nowMs: NOW_MS });
    expect(idsOf(plan)).toEqual([1, 2]);
    expect(plan.evictions.every(({ reason }) => reason === "room")).toBe(true);
  });

  it("counts what running downloads still need as taken", () => {
    const disk = { totalBytes: 1000, freeBytes: 350 };
    const tasks = [task(1), task(2), task(3)];
    const plan = planEviction(usage(tasks, { disk, reservedBytes: 150 }), POLICY, {
      nowMs: NOW_MS,
    });
    expect(idsOf(plan)).toEqual([1, 2]);
  });

  it("counts own bytes where there is a quota, however full the disk is", () => {
    const disk = { totalBytes: 1000, freeBytes: 0 };
    const tasks = [task(1), task(2), task(3)];
    const at = (quotaBytes: number): number[] =>
      idsOf(planEviction(usage(tasks, { disk }), { ...POLICY, quotaBytes }, { nowMs: NOW_MS }));
    expect(at(400)).toEqual([]);
    expect(at(375)).toEqual([1]);
    expect(at(100)).toEqual([1, 2, 3]);
  });

  it("deletes what nobody has used for too long, however much room there is", () => {
    const old = task(9, { usedAtMs: NOW_MS - POLICY.taskTtlMs - 1 });
    const young = task(8, { usedAtMs: NOW_MS - POLICY.taskTtlMs });
    const plan = planEviction(usage([young, old]), POLICY, { nowMs: NOW_MS });
    expect(plan.evictions).toMatchObject([{ taskId: old.taskId, reason: "expired" }]);
  });

  it("counts what has expired towards the room that is needed", () => {
    const old = task(9, { usedAtMs: 0, bytes: 200 });
    const disk = { totalBytes: 1000, freeBytes: 200 };
    const plan = planEviction(usage([task(1), old], { disk }), POLICY, { nowMs: NOW_MS });
    expect(idsOf(plan)).toEqual([9]);
  });

  it("gives content that users have as hard links no blame for a full disk", () => {
    const linked = task(1, { freeableBytes: 4 });
    const disk = { totalBytes: 1000, freeBytes: 100 };
    const plan = planEviction(usage([linked, task(2)], { disk }), POLICY, { nowMs: NOW_MS });
    expect(idsOf(plan)).toEqual([2]);
    expect(plan.shortBytes).toBe(200);
  });

  it("lets it go for the quota, after all others", () => {
    const linked = task(1, { freeableBytes: 4 });
    const policy = { ...POLICY, quotaBytes: 200 };
    const plan = planEviction(usage([linked, task(2)]), policy, { nowMs: NOW_MS });
    expect(idsOf(plan)).toEqual([2]);
    const tight = planEviction(
      usage([linked, task(2)]),
      { ...policy, quotaBytes: 100 },
      {
        nowMs: NOW_MS,
      },
    );
    expect(idsOf(tight)).toEqual([2, 1]);
  });

  it("makes as much room as somebody needs, and says what is missing", () => {
    const tasks = [task(1), task(2), task(3, { pinned: true })];
    const need = (bytes: number): ReturnType<typeof planEviction> =>
      planEviction(usage(tasks), POLICY, { nowMs: NOW_MS, need: { bytes, of: "disk" } });
    expect(idsOf(need(100))).toEqual([1]);
    expect(idsOf(need(101))).toEqual([1, 2]);
    expect(need(250)).toMatchObject({ shortBytes: 50 });
  });

  it("has mercy on nothing but what is pinned or in use, when the marks are low", () => {
    const tasks = [task(1), task(2, { busy: true }), task(3, { pinned: true }), task(4)];
    const disk = { totalBytes: 1000, freeBytes: 1 };
    const plan = planEviction(usage(tasks, { disk }), POLICY, { nowMs: NOW_MS });
    expect(idsOf(plan)).toEqual([1, 4]);
    expect(plan.shortBytes).toBe(199);
  });

  it("believes no time in the future", () => {
    const strange = task(1, { usedAtMs: NOW_MS + 10 ** 12 });
    expect(planEviction(usage([strange]), POLICY, { nowMs: NOW_MS }).evictions).toEqual([]);
  });
});

describe("planEviction, whatever there is", () => {
  const anyTask = fc.record({
    bytes: fc.integer({ min: 0, max: 500 }),
    isLinked: fc.boolean(),
    ageMs: fc.integer({ min: 0, max: 2_000_000 }),
    pinned: fc.boolean(),
    busy: fc.boolean(),
  });
  const anyUsage = fc
    .tuple(fc.array(anyTask, { maxLength: 12 }), fc.nat(2000), fc.nat(500))
    .map(([tasks, othersBytes, reservedBytes]) => {
      const made = tasks.map(({ bytes, isLinked, ageMs, ...rest }, id) =>
        task(id, {
          bytes,
          freeableBytes: isLinked ? 0 : bytes,
          usedAtMs: NOW_MS - ageMs,
          ...rest,
        }),
      );
      const own = made.reduce((sum, { bytes }) => sum + bytes, 0);
      const totalBytes = 8000;
      const disk = { totalBytes, freeBytes: totalBytes - own - othersBytes };
      return usage(made, { disk, reservedBytes });
    });
  const anyPolicy = fc
    .record({
      taskTtlMs: fc.constant(1_000_000),
      quotaBytes: fc.constantFrom(0, 0, 500, 3000),
      highPercent: fc.integer({ min: 1, max: 99 }),
      lowPercent: fc.integer({ min: 1, max: 99 }),
    })
    .map((policy) => ({ ...policy, lowPercent: Math.min(policy.lowPercent, policy.highPercent) }));
  const anyNeed = fc.option(
    fc.record({
      bytes: fc.nat(3000),
      of: fc.constantFrom<"quota" | "disk">("quota", "disk"),
    }),
    { nil: undefined },
  );

  function holds(
    check: (given: {
      usage: StorageUsage;
      policy: EvictionPolicy;
      need: Lack | undefined;
      plan: ReturnType<typeof planEviction>;
      chosen: readonly TaskUsage[];
      left: readonly TaskUsage[];
    }) => void,
  ): void {
    fc.assert(
      fc.property(anyUsage, anyPolicy, anyNeed, (given, policy, need) => {
        const options = { nowMs: NOW_MS, ...(need && { need }) };
        const plan = planEviction(given, policy, options);
        const chosenIds = new Set(plan.evictions.map(({ taskId }) => taskId));
        expect(chosenIds.size).toBe(plan.evictions.length);
        check({
          usage: given,
          policy,
          need,
          plan,
          chosen: given.tasks.filter(({ taskId }) => chosenIds.has(taskId)),
          left: given.tasks.filter(({ taskId }) => !chosenIds.has(taskId)),
        });
      }),
      { numRuns: 500 },
    );
  }

  it("chooses nothing that is pinned or in use", () => {
    holds(({ chosen }) => expect(chosen.filter(({ pinned, busy }) => pinned || busy)).toEqual([]));
  });

  it("leaves nothing that is needed: either there is room, or nobody else could go", () => {
    holds(({ plan, left, policy }) => {
      if (plan.shortBytes === 0) return;
      const useful = left.filter(
        ({ pinned, busy, bytes, freeableBytes }) =>
          !pinned && !busy && (policy.quotaBytes > 0 ? bytes : freeableBytes) > 0,
      );
      // Of linked content the disk has nothing, whatever the quota.
      expect(useful.filter(({ freeableBytes }) => freeableBytes > 0)).toEqual([]);
    });
  });

  it("chooses no one who was used later than somebody of his kind who stays", () => {
    holds(({ plan, chosen, left }) => {
      for (const one of chosen) {
        const eviction = plan.evictions.find(({ taskId }) => taskId === one.taskId);
        if (eviction?.reason !== "room") continue;
        const isLinked = (each: TaskUsage): boolean => each.freeableBytes < each.bytes;
        const older = left.filter(
          (other) =>
            !other.pinned &&
            !other.busy &&
            isLinked(other) === isLinked(one) &&
            other.usedAtMs < one.usedAtMs,
        );
        expect(older).toEqual([]);
      }
    });
  });

  it("chooses no one without whom the rest would do", () => {
    holds(({ usage: given, policy, need, plan }) => {
      const last = plan.evictions.at(-1);
      if (last?.reason !== "room") return;
      const without = plan.evictions.slice(0, -1);
      const freed = (key: "bytes" | "freeableBytes"): number =>
        without.reduce((sum, each) => sum + each[key], 0);
      const byQuota = policy.quotaBytes > 0;
      const { totalBytes, freeBytes } = given.disk;
      const limit = byQuota ? policy.quotaBytes : totalBytes;
      const used = (byQuota ? given.bytes : totalBytes - freeBytes) + given.reservedBytes;
      const surplus =
        used >= (limit * policy.highPercent) / 100 ? used - (limit * policy.lowPercent) / 100 : 0;
      const isAbove = freed(byQuota ? "bytes" : "freeableBytes") < surplus;
      const needed = need?.bytes ?? 0;
      const isNeeded = freed(need?.of === "quota" ? "bytes" : "freeableBytes") < needed;
      expect(isAbove || isNeeded).toBe(true);
    });
  });

  it("chooses nobody the second time, once the first choice is gone", () => {
    holds(({ usage: given, policy, plan, left }) => {
      const freed = plan.evictions.reduce((sum, { freeableBytes }) => sum + freeableBytes, 0);
      const gone = plan.evictions.reduce((sum, { bytes }) => sum + bytes, 0);
      const after = usage(left, {
        bytes: given.bytes - gone,
        reservedBytes: given.reservedBytes,
        disk: {
          totalBytes: given.disk.totalBytes,
          freeBytes: given.disk.freeBytes + freed,
        },
      });
      if (plan.shortBytes > 0) return;
      expect(planEviction(after, policy, { nowMs: NOW_MS }).evictions).toEqual([]);
    });
  });
});
