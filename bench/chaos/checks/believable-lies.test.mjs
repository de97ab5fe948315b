import { describe, expect, it } from "vitest";
import { believableLies } from "./believable-lies.mjs";

const client = { download: { file: "f" }, endedMs: 100 };
const lie = (how, more = {}) => ({
  fault: { kind: "lie", target: "f", how, ...more },
  fromMs: 50,
  untilMs: 80,
});
const loss = (fromMs, untilMs) => ({
  fault: { kind: "kill-scheduler", target: "scheduler" },
  fromMs,
  untilMs,
});

describe("believableLies", () => {
  it.each(["wrong bytes and their digest", "another file"])(
    "excuses %s after the scheduler has started anew",
    (how) => {
      expect(believableLies(client, { all: [lie(how), loss(40, 60)] })).toEqual([how]);
    },
  );

  it.each(["wrong bytes", "too few bytes", "a byte now and then", "nothing after half"])(
    "excuses no %s, which a digest finds out",
    (how) => {
      expect(believableLies(client, { all: [lie(how), loss(40, 60)] })).toEqual([]);
    },
  );

  it("excuses nothing where the scheduler knows the digests, nor lies about another file", () => {
    const how = "another file";
    expect(believableLies(client, { all: [lie(how)] })).toEqual([]);
    expect(believableLies(client, { all: [lie(how), loss(90, 95)] })).toEqual([]);
    expect(believableLies(client, { all: [lie(how), loss(70, 120)] })).toEqual([]);
    expect(believableLies(client, { all: [lie(how, { target: "g" }), loss(40, 60)] })).toEqual([]);
  });
});
