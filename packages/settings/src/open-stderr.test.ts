import { execFile, spawn } from "node:child_process";
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLog } from "./open-log.ts";
import { openStderr } from "./open-stderr.ts";

const run = promisify(execFile);
const FULL = "/dev/full";

let directory: string;
const descriptors: number[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-stderr-"));
});
afterEach(async () => {
  for (const fd of descriptors.splice(0)) closeSync(fd);
  await rm(directory, { recursive: true });
});

function open(path: string, flags: number): number {
  const fd = openSync(path, flags);
  descriptors.push(fd);
  return fd;
}

describe("openStderr", () => {
  it.skipIf(!existsSync(FULL)).each([true, false])(
    `throws nothing at who logs where there is no room (${FULL}, for people: %s)`,
    async (console) => {
      const stderr = openStderr(open(FULL, constants.O_WRONLY));
      const log = openLog({ name: "test", level: "info", console, isTerminal: false, stderr });
      for (let count = 0; count < 3; count += 1) log.info({}, "x".repeat(700_000));
      // Streams say on the next tick what they cannot do.
      await new Promise((resolve) => setImmediate(resolve));
      log.info({}, "and one more");
    },
  );

  it("writes on when a pipe is read again that was full, and waits no longer than a while for that", async () => {
    const path = join(directory, "pipe");
    await run("mkfifo", [path]);
    // Open for both, so that it has a reader from the beginning. As Node does with standard error, it does not block.
    const stderr = openStderr(open(path, constants.O_RDWR | constants.O_NONBLOCK));
    const line = (word: string): string => `${word.padEnd(1023)}\n`;
    // More than the pipe holds, and what may wait for it.
    for (let number = 0; number < 2_048; number += 1) stderr.write(line(`line ${number} `));
    let read = "";
    const reader = spawn("cat", [path], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      reader.stdout.setEncoding("utf8").on("data", (text: string) => (read += text));
      const later = (): string => {
        stderr.write(line("later"));
        return read;
      };
      await expect.poll(later, { timeout: 20_000 }).toContain("\nlater ");
      const first = Array.from({ length: 100 }, (_, number) => line(`line ${number} `));
      expect(read.startsWith(first.join(""))).toBe(true);
    } finally {
      reader.kill();
    }
  });
});
