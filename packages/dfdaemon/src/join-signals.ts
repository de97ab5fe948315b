import { setMaxListeners } from "node:events";

/** Aborts when one of several does. Dispose it when the work is over. */
export interface JoinedSignal extends Disposable {
  readonly signal: AbortSignal;
}

/**
 * As `AbortSignal.any`, but leaves nothing behind: Node 20 keeps a trace of each joined signal on those that it is made of, and one that
 * lives as long as the daemon would have more of them with every call, until it can take no more (2^24).
 */
export function joinSignals(...signals: readonly AbortSignal[]): JoinedSignal {
  const controller = new AbortController();
  const stop = (): void => {
    for (const signal of signals) signal.removeEventListener("abort", onAbort);
  };
  function onAbort(this: AbortSignal): void {
    stop();
    controller.abort(this.reason);
  }
  const aborted = signals.find((signal) => signal.aborted);
  if (aborted === undefined) {
    // As many as there is work under way hang on one that lives as long as the daemon, and each goes with its work.
    setMaxListeners(0, ...signals);
    for (const signal of signals) signal.addEventListener("abort", onAbort);
  } else controller.abort(aborted.reason);
  return { signal: controller.signal, [Symbol.dispose]: stop };
}
