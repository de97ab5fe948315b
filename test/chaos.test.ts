import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const DOOR = fileURLToPath(new URL("../scripts/chaos.mjs", import.meta.url));
/** Of each run: long enough for some of everything. */
const MINUTES = 0.5;
/** The schedule has its own end, and every wait in it a bound: this is for a harness that hangs. Milliseconds. */
const RUN_MS_MAX = 20 * 60_000;
/** Any that will do: it stays the same, so that what breaks it is a change of ours. */
const START = 20;

interface Outcome {
  readonly code: number | null;
  readonly output: string;
}

async function runChaos(start: number): Promise<Outcome> {
  const argv = [DOOR, "--start", String(start), "--minutes", String(MINUTES)];
  const child = spawn(process.execPath, argv);
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output: Buffer.concat(chunks).toString("utf8") };
}

describe.runIf(process.platform === "linux")(
  "a cluster that is killed, cut off and lied to",
  () => {
    it.each([
      ["always the same", START],
      ["at random", randomInt(1, 1_000_000)],
    ])(
      "gives every user the right file or an error that says why, by a schedule that is %s (%d)",
      { timeout: RUN_MS_MAX },
      async (_, start) => {
        const { code, output } = await runChaos(start);
        // What is printed says what was not kept, where the logs are, and how to run the same again.
        expect(code, output).toBe(0);
        expect(output).toContain("Every promise was kept.");
      },
    );
  },
);
