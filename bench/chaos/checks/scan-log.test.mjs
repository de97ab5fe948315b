import { describe, expect, it } from "vitest";
import { scanLog } from "./scan-log.mjs";

describe("scanLog", () => {
  it.each([
    '{"level":50,"msg":"a failure that nobody took care of, please report it: x"}',
    "(node:1) UnhandledPromiseRejectionWarning: x",
    "Uncaught Error: x",
    "    at run (file:///a/b.js:10:20)",
    '{"level":40,"err":{"type":"Error","message":"x","stack":"Error: x\\n    at run (a.js:1:2)"},"msg":"y"}',
    "thread '<unnamed>' panicked at 'x', src/lib.rs:1:2",
    "FATAL ERROR: Reached heap limit Allocation failed",
    "(node:1) MaxListenersExceededWarning: Possible EventEmitter memory leak detected",
  ])("sees %s", (line) => {
    expect(scanLog(`fine\n${line}\nfine`)).toEqual([{ line, reason: expect.any(String) }]);
  });

  it("passes over what is said of failures as it should be, and over our own notes", () => {
    const text = [
      '{"level":40,"msg":"parent dropped: nothing came at 10:20:30"}',
      "=== 2024-01-01T00:00:00.000Z SIGKILL to seed: uncaught, as it were",
      "",
    ].join("\n");
    expect(scanLog(text)).toEqual([]);
  });
});
