import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../logger.ts";
import { endLeftWorkers, workerArguments } from "./end-left-workers.ts";

type Child = ChildProcessByStdio<Writable, Readable, null>;

let directory: string;
let children: Child[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-left-"));
  children = [];
});
afterEach(async () => {
  // Whatever they have started ends with their standard input.
  for (const child of children) child.stdin.end();
  for (const child of children) if (!isOver(child)) await once(child, "exit");
  await rm(directory, { recursive: true });
});

const isOver = ({ exitCode, signalCode }: Child): boolean =>
  exitCode !== null || signalCode !== null;

/** Says that it is there, and stays until its standard input ends. */
const STAY = "echo here; read _";

/** A data-plane process of this directory, as far as its arguments tell. Resolves when it has them; false: it cannot be started. */
async function startWorker(options: {
  readonly daemonPid: number;
  readonly inside?: readonly [string, ...string[]];
}): Promise<Child | false> {
  const { daemonPid, inside = ["env"] } = options;
  const [mark, of] = workerArguments(directory);
  const [command, ...argv] = [
    ...inside,
    "sh",
    "-c",
    // What starts it has not these arguments.
    `exec sh -c "$STAY" worker "$MARK" "$OF" ${daemonPid}`,
  ];
  const env = { PATH: process.env["PATH"], STAY, MARK: mark, OF: of };
  const child = spawn(command, argv, { env, stdio: ["pipe", "pipe", "ignore"] });
  const isThere = once(child.stdout, "data").then(() => true);
  const isGone = once(child, "exit").then(
    () => false,
    () => false,
  );
  if (!(await Promise.race([isThere, isGone]))) return false;
  // One that has been ended takes nothing more.
  child.stdin.on("error", () => {});
  children.push(child);
  return child;
}

/** A number that no process has. */
const GONE_PID = 2 ** 22 + 1;

describe.runIf(process.platform === "linux")("endLeftWorkers", () => {
  it("ends what a daemon that is gone has left, and not what belongs to one that lives", async () => {
    const left = await startWorker({ daemonPid: GONE_PID });
    const another = await startWorker({ daemonPid: process.pid });
    if (!left || !another) throw new Error("they could not be started");
    const ended = once(left, "exit");
    await endLeftWorkers(directory, SILENT_LOGGER);
    expect(await ended).toEqual([null, "SIGKILL"]);
    expect(isOver(another)).toBe(false);
  });

  it("leaves those of a daemon in another PID namespace alone, whose number it has only there", async (context) => {
    const worker = await startWorker({
      daemonPid: 1,
      inside: ["unshare", "--user", "--map-root-user", "--pid", "--fork"],
    });
    if (!worker) {
      context.skip("this system lets nobody have a PID namespace of his own");
      return;
    }
    const ended = once(worker, "exit");
    await endLeftWorkers(directory, SILENT_LOGGER);
    worker.stdin.write("that is all\n");
    expect(await ended).toEqual([0, null]);
  });
});
