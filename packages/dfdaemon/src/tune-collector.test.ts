import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { COLLECTOR_FLAGS, START_FLAGS, tuneCollector } from "./tune-collector.ts";

test("V8 knows the flags that it is given, and complains about none", async () => {
  tuneCollector();
  const run = promisify(execFile);
  const flags = [...COLLECTOR_FLAGS, ...START_FLAGS];
  const { stdout, stderr } = await run(process.execPath, [...flags, "-p", "'it runs'"]);
  expect({ stdout, stderr }).toEqual({ stdout: "it runs\n", stderr: "" });
}, 30_000);
