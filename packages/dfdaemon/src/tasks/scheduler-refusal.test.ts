import { status } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { DaemonError } from "../errors.ts";
import { isRefusal, statusOf } from "./scheduler-refusal.ts";

type StatusName = Parameters<typeof status>[0];

const answered = (name: StatusName, reason = "no"): DaemonError =>
  new DaemonError("ERR_SCHEDULER", "Cannot register", { cause: status(name, reason) });

describe("isRefusal", () => {
  it.each<StatusName>([
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "PERMISSION_DENIED",
    "UNIMPLEMENTED",
  ])("takes %s for an answer that would be the same again", (name) => {
    expect(isRefusal(answered(name), "LEVEL0")).toBe(true);
  });

  it.each<StatusName>(["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "NOT_FOUND"])(
    "takes %s for a scheduler that is lost",
    (name) => {
      expect(isRefusal(answered(name), "LEVEL0")).toBe(false);
    },
  );

  it("takes what is not found for an answer where only others may be fetched from, unless it is the host", () => {
    expect(isRefusal(answered("NOT_FOUND", "no peer has it"), "LEVEL2")).toBe(true);
    expect(isRefusal(answered("NOT_FOUND", "host x is unknown"), "LEVEL2")).toBe(false);
  });
});

describe("statusOf", () => {
  it("knows answers of a scheduler, and nothing else", () => {
    expect(statusOf(answered("UNAVAILABLE"))).toBe("UNAVAILABLE");
    expect(statusOf(new DaemonError("ERR_SCHEDULER", "Cannot register"))).toBeUndefined();
    expect(statusOf(new Error("other"))).toBeUndefined();
  });
});
