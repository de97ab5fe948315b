/**
 * Waits for `work`, but no longer than `ms` and not beyond the signal's abort.
 *
 * What `work` does later is not stopped by this and not lost: whoever started it must free what it still brings.
 *
 * @throws what `work` throws, the signal's reason, or what `expired` makes
 */
export async function within<T>(
  work: Promise<T>,
  bounds: {
    /** Milliseconds, 1 to 2^31 - 1. */
    readonly ms: number;
    readonly signal?: AbortSignal | undefined;
    readonly expired: () => Error;
  },
): Promise<T> {
  const { ms, signal, expired } = bounds;
  return new Promise<T>((resolve, reject) => {
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      finish();
    };
    const onAbort = (): void => settle(() => reject(signal?.reason));
    const timer = setTimeout(() => settle(() => reject(expired())), ms);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    work.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}
