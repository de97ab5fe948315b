import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const DOOR = fileURLToPath(new URL("../scripts/chaos.mjs", import.meta.url));
/** Of each run: long enough for some of everything. */
const MINUTES = 0.5;
/** The schedule has its own end, and every wait in it a bound: this is for a harness that hangs. Milliseconds. */
const RUN_MS_MAX = 20 * 60_000;
/** Any that will do: they stay the same, so that what breaks one is a change of ours. `npm run chaos` draws new ones. */
const STARTS = [20, 40_453];

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
    it.each(STARTS)(
      "gives every user the right file or an error that says why, by the schedule of start value %d",
      { timeout: RUN_MS_MAX },
      async (start) => {
        const { code, output } = await runChaos(start);
        // What is printed says what was not kept, where the logs are, and how to run the same again.
        expect(code, output).toBe(0);
        expect(output).toContain("Every promise was kept.");
      },
    );
  },
);
