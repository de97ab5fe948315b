// Whether health checks were answered whenever there was somebody to answer them.

/** Faults during which, and so long after which, a node need not answer. Milliseconds. */
const EXCUSES = ["kill-daemon", "kill-tree", "restart-daemon", "stop-daemon"];
const SETTLE_MS = 1_000;
/** An answer later than this is none. Milliseconds. */
const ANSWER_MS_MAX = 2_000;

/**
 * @param {{ name: string, fromMs: number, untilMs: number, tookMs: number, reason: string }[]} troubles - of the prober
 * @param incidents - of the run
 * @returns what is wrong, in words
 */
export function judgeHealth(troubles, { incidents, slowness }) {
  return troubles
    .filter(({ tookMs, reason }) => !isLate(reason) || tookMs > ANSWER_MS_MAX * slowness)
    .filter(({ name, fromMs, untilMs }) =>
      incidents
        .during({ fromMs, untilMs, settleMs: SETTLE_MS })
        .every(({ fault }) => !isExcuse(fault, name)),
    )
    .map(({ name, fromMs, reason }) => `${name} at ${new Date(fromMs).toISOString()}: ${reason}`);
}

function isLate(reason) {
  return reason.startsWith("it took");
}

function isExcuse({ kind, target, isDown }, name) {
  return target === name && (EXCUSES.includes(kind) || isDown === true);
}
