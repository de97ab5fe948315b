// Waits for servers to be ready.
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { checkHealth, createHealthClient } from "@damselfly/rpc";

const LOOK_EVERY_MS = 20;
const ANSWER_MS_MAX = 2_000;

/** Resolves when a health check at a unix socket is answered well, or when `isGone()`. */
export async function untilAnswered(socketPath, isGone) {
  while (!isGone()) {
    if (await answers(socketPath)) return;
    await pause(LOOK_EVERY_MS);
  }
}

/** Resolves when a log says it, beyond the byte `from`, or when `isGone()`. */
export async function untilSaid(path, { pattern, from, isGone }) {
  while (!isGone()) {
    if (pattern.test(readFileSync(path).subarray(from).toString("utf8"))) return;
    await pause(LOOK_EVERY_MS);
  }
}

/** Whether a health check at a unix socket is answered well now. */
export async function answers(socketPath) {
  const client = createHealthClient({ socketPath });
  try {
    await client.connect({ timeoutMs: ANSWER_MS_MAX });
    await checkHealth(client, { timeoutMs: ANSWER_MS_MAX });
    return true;
  } catch {
    return false; // Not yet: asked again.
  } finally {
    await client[Symbol.asyncDispose]();
  }
}
