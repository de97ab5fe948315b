import { setTimeout as sleep } from "node:timers/promises";

/** Long enough for a busy machine. Milliseconds. */
const WAIT_MS = 60_000;
const INTERVAL_MS = 20;

/** For what other processes do without saying so: looks until something is found. @throws {Error} naming `what`, if it never is */
export async function eventually<Found>(
  what: string,
  look: () => Promise<Found | undefined>,
): Promise<Found> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() >= deadline) throw new Error(`${what} did not come in ${WAIT_MS} ms`);
    await sleep(INTERVAL_MS);
  }
}
