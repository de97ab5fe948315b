import { RpcError } from "@damselfly/rpc";
import { jitter } from "../jitter.ts";
import { pause } from "../pause.ts";

/** Times a parent is asked that has too many requests at the moment. */
const TRIES_MAX = 5;
/** Between the first two of them, on average; it doubles. Servers count requests by the second. Milliseconds. */
const PAUSE_MS = 500;

/**
 * Calls until the server takes the call: one that is overloaded refuses it with `RESOURCE_EXHAUSTED` at once and will take it a moment
 * later. When a thousand children start at the same second, a seed that is lost to those who came too late would be a pity.
 *
 * @throws what the last call throws, or one that has brought something already
 * @throws the signal's reason
 */
export async function* askAgain<Response>(
  call: () => AsyncIterable<Response>,
  { signal, pauseMs = PAUSE_MS }: { readonly signal: AbortSignal; readonly pauseMs?: number },
): AsyncGenerator<Response, void, undefined> {
  for (let tries = 1; ; tries += 1) {
    let isAnswered = false;
    try {
      for await (const response of call()) {
        isAnswered = true;
        yield response;
      }
      return;
    } catch (error) {
      const isOverloaded = error instanceof RpcError && error.code === "RESOURCE_EXHAUSTED";
      if (!isOverloaded || isAnswered || tries === TRIES_MAX) throw error;
    }
    // Not all of them at once again.
    await pause(jitter(pauseMs * 2 ** (tries - 1)), signal);
    signal.throwIfAborted();
  }
}
