import { describe, expect, it } from "vitest";
import { mayBelieve } from "./may-believe.mjs";

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

describe("mayBelieve", () => {
  it.each(["wrong bytes and their digest", "another file"])(
    "excuses %s after the scheduler has started anew",
    (how) => {
      expect(mayBelieve(client, { all: [lie(how), loss(40, 60)] })).toBe(true);
    },
  );

  it.each(["wrong bytes", "too few bytes", "a byte now and then", "nothing after half"])(
    "excuses no %s, which a digest finds out",
    (how) => {
      expect(mayBelieve(client, { all: [lie(how), loss(40, 60)] })).toBe(false);
    },
  );

  it("excuses nothing where the scheduler knows the digests, nor lies about another file", () => {
    const how = "another file";
    expect(mayBelieve(client, { all: [lie(how)] })).toBe(false);
    expect(mayBelieve(client, { all: [lie(how), loss(90, 95)] })).toBe(false);
    expect(mayBelieve(client, { all: [lie(how), loss(70, 120)] })).toBe(false);
    expect(mayBelieve(client, { all: [lie(how, { target: "g" }), loss(40, 60)] })).toBe(false);
  });
});
