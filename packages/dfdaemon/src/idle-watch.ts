/** Tells when nothing has been asked of the daemon, and nothing has run, for a while. */
export interface IdleWatch {
  /** Something was asked just now. */
  touch(): void;
  stop(): void;
}

/** Calls `onIdle` once, as soon as `isBusy` has said no and nobody has touched the watch for `idleMs`. */
export function watchIdle(options: {
  readonly idleMs: number;
  readonly isBusy: () => boolean;
  readonly onIdle: () => void;
}): IdleWatch {
  let lastMs = Date.now();
  const timer = setInterval(
    () => {
      if (options.isBusy()) lastMs = Date.now();
      if (Date.now() - lastMs < options.idleMs) return;
      clearInterval(timer);
      options.onIdle();
    },
    Math.max(10, Math.min(options.idleMs / 4, 5_000)),
  );
  timer.unref();
  return {
    touch: () => {
      lastMs = Date.now();
    },
    stop: () => clearInterval(timer),
  };
}
