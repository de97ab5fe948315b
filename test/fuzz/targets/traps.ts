import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";

/** Fails in every way that an input can make a target fail: what the fuzzer is expected to notice. */
export const traps: FuzzTarget = {
  name: "traps",
  summary: "words that break it",
  lengthMax: 64,
  groupLength: 4,
  isConcurrent: false,
  async open(): Promise<OpenTarget> {
    return {
      examples: ["", "nothing", "!brea", "!unknown"].map((text) => Buffer.from(text)),
      dictionary: ["k", "broken"].map((text) => Buffer.from(text)),
      run,
      async [Symbol.asyncDispose]() {},
    };
  },
};

async function run(input: Uint8Array): Promise<void> {
  const text = Buffer.from(input).toString("latin1");
  assertHolds(!text.includes("!break"), "it is broken");
  if (text.includes("!throw")) {
    setImmediate(() => {
      throw new Error("nobody catches this");
    });
    await new Promise(setImmediate);
  }
  if (text.includes("!kill")) process.kill(process.pid, "SIGKILL");
  while (text.includes("!spin"));
  const startMs = processorMs();
  while (text.includes("!work") && processorMs() < startMs + 300);
  if (text.includes("!leave")) setInterval(() => {}, 1_000);
  if (text.includes("!hoard")) HOARD.push(Buffer.alloc(32 * 2 ** 20, 1));
}

const HOARD: Buffer[] = [];

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
