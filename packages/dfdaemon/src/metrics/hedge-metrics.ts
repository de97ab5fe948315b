import { Counter, type Registry } from "prom-client";
import type { HedgeTally } from "../parents/piece-fetches.ts";

/** Registers what it takes to have pieces come that do not come, under names of our own, and counts it. */
export function registerHedgeMetrics(registry: Registry): HedgeTally {
  const registers = [registry];
  const hedges = new Counter({
    name: "damselfly_hedges_total",
    help: "Rests of pieces that were asked of somebody else as well, by whom and why",
    labelNames: ["to", "reason"],
    registers,
  });
  const doubledBytes = new Counter({
    name: "damselfly_hedge_doubled_bytes_total",
    help: "Bytes of pieces that came a second time for that",
    registers,
  });
  return {
    hedged: (to, reason) => hedges.inc({ to, reason }),
    doubled: (length) => doubledBytes.inc(length),
  };
}
