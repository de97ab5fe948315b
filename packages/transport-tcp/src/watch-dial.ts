import type { ParentConnection } from "./parent-connection.ts";

const STEP_COUNT = 8;

/**
 * Closes a connection that cannot be used after `ms`. In steps, of which one that comes late counts once: time in which
 * this process was too busy to look is not the parent's.
 *
 * @returns what ends the watch
 */
export function watchDial(connection: ParentConnection, ms: number): () => void {
  let stepCount = 0;
  const timer = setInterval(() => {
    stepCount += 1;
    if (stepCount < STEP_COUNT) return;
    clearInterval(timer);
    connection.close(new Error(`no connection within ${ms} ms`));
  }, ms / STEP_COUNT);
  return () => clearInterval(timer);
}
