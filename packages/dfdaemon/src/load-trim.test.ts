import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { loadTrim } from "./load-trim.ts";

const isGlibc =
  process.platform === "linux" &&
  JSON.stringify(process.report.getReport()).includes("glibcVersionRuntime");

it.runIf(isGlibc)(
  "gives back what was freed below what is still used",
  async () => {
    const code = `
    const { loadTrim } = await import(${JSON.stringify(new URL("../dist/load-trim.js", import.meta.url))});
    const trim = loadTrim();
    const rss = () => process.memoryUsage.rss() / 2 ** 20;
    // Small ones are V8's own; these are the C library's, and too short to have pages of their own.
    const kept = [];
    let freed = [];
    for (let count = 0; count < 10_000; count += 1) {
      freed.push(Buffer.alloc(10_000, 1));
      if (count % 100 === 99) kept.push(freed.pop());
    }
    freed = undefined;
    // V8 has another thread free what they held.
    for (let look = 0; look < 200 && process.memoryUsage().arrayBuffers > 5_000_000; look += 1) {
      global.gc();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const before = rss();
    trim();
    console.log(Math.round(before - rss()), kept.length);`;
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [
      "--expose-gc",
      "--input-type=module",
      "-e",
      code,
    ]);
    const [given, kept] = stdout.split(" ").map(Number);
    expect(kept).toBe(100);
    expect(given).toBeGreaterThan(40);
  },
  30_000,
);

it("is not there, or can be called", () => {
  const trim = loadTrim();
  if (isGlibc) expect(trim).toBeTypeOf("function");
  trim?.();
});
