import { readFileSync, readlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../../logger.ts";

/** Where Linux shows its processes. */
const PROC = "/proc";
/** A process that has been killed takes as long as the disk takes for what it was writing. Milliseconds. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 5;

/** What a data-plane process is started with, besides its program: enough to be found by the next daemon. */
export function workerArguments(directory: string): readonly string[] {
  return [MARK, directory, String(process.pid)];
}

/**
 * Ends the data-plane processes that a daemon which is gone has left in the same directory, and waits until they are. They end by
 * themselves, but not while they stand still (SIGSTOP, a frozen container); and when that is over, what they were writing would go where
 * others have written meanwhile.
 *
 * Linux only; elsewhere, and where the processes of the one before are in another PID namespace (a container), nothing happens.
 *
 * @param directory of the storage, as `workerArguments` has it
 */
export async function endLeftWorkers(directory: string, logger: Logger): Promise<void> {
  const left: number[] = [];
  for (const name of await readdir(PROC).catch(() => [])) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || !isLeft(pid, directory)) continue;
    try {
      process.kill(pid, "SIGKILL");
      left.push(pid);
    } catch (error) {
      logger.warn({ err: error, pid }, "cannot end a data-plane process of the daemon before");
    }
  }
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (const pid of left) {
    while (isLeft(pid, directory) && performance.now() < deadlineMs) await sleep(LOOK_MS);
    logger.warn({ pid }, "ended a data-plane process that the daemon before has left");
  }
}

const MARK = "--data-plane-of";

/**
 * One for that directory whose daemon is not its parent any more. One that has ended has no arguments.
 *
 * Not asynchronous: nobody else is there yet whom it could keep waiting, and of some thousand processes it is ten times as fast.
 */
function isLeft(pid: number, directory: string): boolean {
  try {
    const words = readFileSync(`${PROC}/${pid}/cmdline`, "utf8").split("\0");
    const at = words.indexOf(MARK);
    if (at === -1 || words[at + 1] !== directory) return false;
    // In another namespace the daemon has another number there than here: nobody knows from here whether it lives.
    if (pidNamespaceOf(pid) !== pidNamespaceOf("self")) return false;
    const status = readFileSync(`${PROC}/${pid}/status`, "utf8");
    return /^PPid:\s*(\d+)$/m.exec(status)?.[1] !== words[at + 2];
  } catch {
    return false; // it has ended meanwhile, or is not ours to look at
  }
}

function pidNamespaceOf(pid: number | "self"): string {
  return readlinkSync(`${PROC}/${pid}/ns/pid`);
}
