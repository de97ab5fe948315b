import type { Protocol } from "@damselfly/transport";
import type { ParentRecord } from "./parent-record.ts";
import type { Progress } from "../relay/progress.ts";

/** Before that a transfer has not shown what it can do, in milliseconds. */
const CRAWL_AFTER_MS = 400;
/** The same before one is tried of which nothing is known, and nothing better is to be expected. */
const EXPLORE_AFTER_MS = 2_000;
/** What will be over so soon is not worth another request, in milliseconds. */
const SOON_MS = 800;
/** Another way must be this much faster to take over a piece that runs. */
const MOVE_GAIN = 3;
/** Slower than any LAN, in bytes a millisecond, all pieces from the parent together. */
const POOR_GOODPUT = 4_000;
/** Nothing at all for so long: whatever the reason, another way may know better. Milliseconds. */
const SILENT_MS = 2_000;

/** A piece in flight, over one protocol of those that its parent offers. */
export interface Run {
  readonly protocol: Protocol;
  readonly progress: Progress;
  /** Bytes that have not come yet. */
  readonly remaining: number;
  /** Where else it may be had. */
  readonly others: readonly Protocol[];
}

/** Why a piece is asked for elsewhere. */
export type MoveReason = "crawled" | "silent";

export interface Move {
  readonly to: Protocol;
  readonly reason: MoveReason;
}

/**
 * Whether the rest of a piece is to be asked for over another protocol, because this one crawls.
 *
 * @param runs all that run from the parent at this moment
 */
export function judgeRun(
  run: Run,
  { record, runs }: { readonly record: ParentRecord; readonly runs: ReadonlySet<Run> },
): Move | undefined {
  const { progress, remaining, others } = run;
  const usable = others.filter((other) => !record.of(other).isDetoured);
  const [next] = usable;
  if (next === undefined || remaining === 0) return undefined;
  if (progress.silentMs >= SILENT_MS) {
    const proven = usable.find((other) => record.of(other).isProven);
    return { to: proven ?? next, reason: "silent" };
  }
  const { rate, elapsedMs } = progress;
  if (elapsedMs < CRAWL_AFTER_MS || !progress.isStarved || progress.isGrowing) return undefined;
  if (remaining <= rate * SOON_MS) return undefined;
  // gRPC goes over TCP: what the one cannot the other cannot either.
  const isTcpKnown = run.protocol === "tcp" || record.of("tcp").isProven;
  const candidates = usable.filter((other) => other !== "grpc" || !isTcpKnown);
  const rates = candidates.map((other) => rateOfPiece(other, { record, runs }));
  const better = candidates.find((_, index) => (rates[index] ?? 0) > MOVE_GAIN * rate);
  if (better !== undefined) return { to: better, reason: "crawled" };
  const unknown = candidates.find((_, index) => rates[index] === undefined);
  const isPoor = rate * runs.size < POOR_GOODPUT;
  if (unknown === undefined || !isPoor) return undefined;
  const isHopeful = record.isFar && unknown === "quic";
  if (!isHopeful && elapsedMs < EXPLORE_AFTER_MS) return undefined;
  return { to: unknown, reason: "crawled" };
}

/** What one piece gets over a protocol, in bytes a millisecond: of those that run, else as it was measured. */
function rateOfPiece(
  protocol: Protocol,
  { record, runs }: { readonly record: ParentRecord; readonly runs: ReadonlySet<Run> },
): number | undefined {
  const rates = [...runs]
    .filter((each) => each.protocol === protocol && each.progress.elapsedMs >= CRAWL_AFTER_MS)
    .map(({ progress }) => progress.rate);
  const goodput = record.of(protocol).goodput;
  if (rates.length === 0) return goodput === undefined ? undefined : goodput / runs.size;
  return rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}
