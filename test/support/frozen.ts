import { setTimeout as sleep } from "node:timers/promises";
import type { TaskReport } from "../../packages/dfdaemon/src/tasks/task-report.ts";
import { LOOPBACK, type RunningDaemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";

/** How long a daemon runs that is let run for a moment. Milliseconds. */
const MOMENT_MS = 10;
/** Between two looks at what a daemon says: it answers fifty a second. Milliseconds. */
const LOOK_MS = 50;

/** The processes that move content for a daemon: those that it has started, less those that have ended. The last one serves. */
function workerOf({ log }: RunningDaemon): number | undefined {
  const line = log.findLast(({ msg }) => /^data-plane process \d+ serves$/.test(msg));
  return line === undefined ? undefined : Number(line["pid"]);
}

/** Stops all of a daemon: as a machine that hangs, it takes connections and says nothing more. */
export function freeze(daemon: RunningDaemon): void {
  // The one that looks after the other first.
  daemon.child.kill("SIGSTOP");
  const worker = workerOf(daemon);
  if (worker !== undefined) process.kill(worker, "SIGSTOP");
}

export function thaw(daemon: RunningDaemon): void {
  const worker = workerOf(daemon);
  if (worker !== undefined) process.kill(worker, "SIGCONT");
  daemon.child.kill("SIGCONT");
}

/** What a daemon says at `GET /api/tasks`. */
export async function tasksOf(statsPort: number): Promise<readonly TaskReport[]> {
  const response = await fetch(`http://${LOOPBACK}:${statsPort}/api/tasks`);
  if (!response.ok) throw new Error(`/api/tasks answers ${response.status}`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is the test that checks it
  return (await response.json()) as readonly TaskReport[];
}

/**
 * Lets a parent send, for a moment at a time, until it has sent a part of every piece in flight and no more; then it stands still.
 *
 * @param statsPort of the child, whose only download it is
 * @returns bytes of pieces in flight that the child has
 */
export async function freezeMidPiece(parent: RunningDaemon, statsPort: number): Promise<number> {
  freeze(parent);
  return await eventually("the middle of a piece", async () => {
    thaw(parent);
    await sleep(MOMENT_MS);
    freeze(parent);
    for (;;) {
      const [task] = await tasksOf(statsPort);
      const pieces = task?.transfer?.pieces ?? [];
      // What is on its way still comes.
      if (pieces.some(({ silentMs }) => silentMs < 600)) {
        await sleep(LOOK_MS);
        continue;
      }
      const begun = pieces.filter(
        ({ receivedLength, length }) => receivedLength > 0 && receivedLength < length,
      );
      // One that is not announced would be what the child says it waits for.
      if (begun.length === 0 || begun.length < pieces.length) return undefined;
      return begun.reduce((sum, { receivedLength }) => sum + receivedLength, 0);
    }
  });
}
