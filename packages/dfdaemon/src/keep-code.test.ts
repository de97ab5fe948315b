import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { KEEP_CODE_FLAG, keepCode } from "./keep-code.ts";

test("V8 knows the flag that it is given, and complains about nothing", async () => {
  keepCode();
  const run = promisify(execFile);
  const { stdout, stderr } = await run(process.execPath, [KEEP_CODE_FLAG, "-p", "'it runs'"]);
  expect({ stdout, stderr }).toEqual({ stdout: "it runs\n", stderr: "" });
}, 30_000);
