// Whether wrong bytes may be a liar's, as docs/reliability.md says under what is not promised.

/** Lies that are of one piece with the digest that is told beside them; all others are found out by it. */
const CONSISTENT = ["wrong bytes and their digest", "another file"];
/** After these a scheduler knows no digests. */
const FORGETS = ["kill-scheduler", "restart-scheduler"];

/**
 * A scheduler that starts anew knows no digests. Where somebody lies about a file, is the first that it hears of who has it, and no seed
 * that has read it says so in time, he is believed.
 *
 * @param {{ download: object, endedMs: number }} client - that has ended
 * @param {{ all: object[] }} incidents
 * @returns {string[]} how the liars lied whom it may have believed
 */
export function believableLies({ download, endedMs }, { all }) {
  const lies = all.filter(
    ({ fault, fromMs }) =>
      fault.kind === "lie" &&
      fault.target === download.file &&
      CONSISTENT.includes(fault.how) &&
      fromMs <= endedMs,
  );
  const losses = all.filter(({ fault }) => FORGETS.includes(fault.kind));
  const isBelievable = (lie) =>
    losses.some(({ fromMs, untilMs }) => fromMs <= lie.untilMs && untilMs <= endedMs);
  return [...new Set(lies.filter(isBelievable).map(({ fault }) => fault.how))];
}
