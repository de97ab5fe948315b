import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HashRing, positionOfKey, positionsOfNode } from "./hash-ring.ts";

/* The vectors are those of dragonfly-hashring 0.2.0, with which Dragonfly's daemons 1.5.10 choose their scheduler. */

const T = "06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca";
const U = "3c3f230ef9f191dd2821510346a7bc138e4894bee9aee184ba250a3040701d2a";
const W = "5f9c4ab08cac7457e9111a30e4664920607ea2c115a1433d7be98e97e64244ca";

function ringOf(...names: readonly string[]): HashRing<string> {
  return new HashRing(names.map((name) => [name, name]));
}

describe("positionsOfNode", () => {
  it.each([
    ["scheduler-0", 0, 0xcafde51ef5d5f137n],
    ["scheduler-1", 0, 0xa069beb55c69af57n],
    ["seed-peer-1", 0, 0x1e5a582b8d945969n],
    ["scheduler-0", 460, 0x0ebc39019e177025n],
    ["scheduler-1", 51, 0x0be932df390dd891n],
    ["scheduler-1", 420, 0x00247c466e60e526n],
    ["10.0.0.1:8002", 429, 0x0ef444fb8336ee17n],
    ["10.0.0.2:8002", 52, 0x0c7ff4994c5aa133n],
  ])("puts %s #%i where Dragonfly's daemons put it", (name, replica, position) => {
    expect(positionsOfNode(name)[replica]).toBe(position);
  });
});

describe("positionOfKey", () => {
  it.each([
    [T, 0x0ea2c3d5b0962482n],
    [U, 0x0be701cfbd25ef07n],
    [W, 0xffe2eeaace590bf8n],
    ["test-task", 0xa78dd821b4023714n],
    ["", 0x20dd4eb33d9590f2n],
  ])("puts the key '%s' where Dragonfly's daemons put it", (key, position) => {
    expect(positionOfKey(key)).toBe(position);
  });
});

describe("HashRing", () => {
  it.each([
    [T, "scheduler-0"],
    [U, "scheduler-1"],
    // Above the last virtual node: the ring begins again.
    [W, "scheduler-1"],
  ])("gives the task %s to %s, as Dragonfly's daemons do", (task, chosen) => {
    expect(ringOf("scheduler-0", "scheduler-1").order(task)[0]).toBe(chosen);
    expect(ringOf("scheduler-1", "scheduler-0").order(task)[0]).toBe(chosen);
  });

  it("gives tasks to schedulers without a hostname as Dragonfly's daemons do", () => {
    const ring = ringOf("10.0.0.1:8002", "10.0.0.2:8002");
    expect(ring.order(T)[0]).toBe("10.0.0.1:8002");
    expect(ring.order(U)[0]).toBe("10.0.0.2:8002");
  });

  it("names every node once, and nobody when it is empty", () => {
    expect(ringOf().order(T)).toEqual([]);
    expect(ringOf("a").order(T)).toEqual(["a"]);
    expect(ringOf("a", "b", "c").order(T).toSorted()).toEqual(["a", "b", "c"]);
  });

  it("counts the last of two nodes with one name", () => {
    const ring = new HashRing([
      ["a", 1],
      ["a", 2],
    ]);
    expect(ring.order(T)).toEqual([2]);
  });

  it("moves only the keys of a node that goes, to whoever was next", () => {
    const names = ["a", "b", "c", "d"];
    const whole = ringOf(...names);
    const without = names.map((gone) => ringOf(...names.filter((name) => name !== gone)));
    fc.assert(
      fc.property(fc.string(), fc.nat({ max: 3 }), (key, gone) => {
        const rest = whole.order(key).filter((name) => name !== names[gone]);
        expect(without[gone]!.order(key)).toEqual(rest);
      }),
    );
  });

  it("shares keys out about evenly", () => {
    const ring = ringOf("a", "b", "c");
    const counts = new Map<string, number>();
    for (let key = 0; key < 3_000; key += 1) {
      const [chosen = ""] = ring.order(String(key));
      counts.set(chosen, (counts.get(chosen) ?? 0) + 1);
    }
    for (const count of counts.values()) expect(count).toBeGreaterThan(800);
  });
});
