import { Counter, Gauge, type Registry } from "prom-client";
import type { BreakerState } from "../origins/breaker.ts";
import type { OriginReport } from "../origins/origin-guard.ts";

/** What counts how whole files compare with what their origins say they are. */
export interface DigestCounter {
  checked(check: { readonly algorithm: string; readonly isGood: boolean }): void;
}

/** Registers what is known of origins, under names of our own (`damselfly_`). No label is what somebody else can make up. */
export function registerOriginMetrics(
  registry: Registry,
  report: () => OriginReport,
): DigestCounter {
  const registers = [registry];
  const hosts = new Gauge({
    name: "damselfly_origin_hosts",
    help: "Origins that are known, 1,000 at most, by whether they are asked as usual, not for a while, or by one request to see",
    labelNames: ["state"],
    registers,
    collect() {
      const states = new Map<BreakerState, number>([
        ["closed", 0],
        ["open", 0],
        ["half-open", 0],
      ]);
      for (const { state } of report().hosts) states.set(state, (states.get(state) ?? 0) + 1);
      for (const [state, count] of states) hosts.set({ state }, count);
    },
  });
  for (const { name, help, valueOf } of COUNTERS) {
    const counter: Counter = new Counter({
      name,
      help,
      registers,
      collect() {
        counter.reset();
        counter.inc(valueOf(report()));
      },
    });
  }
  const checks = new Counter({
    name: "damselfly_digest_checks_total",
    help: "Whole files compared with what their origins say they are",
    labelNames: ["algorithm", "outcome"],
    registers,
  });
  return {
    checked: ({ algorithm, isGood }) =>
      checks.inc({ algorithm, outcome: isGood ? "good" : "wrong" }),
  };
}

const COUNTERS: readonly {
  readonly name: string;
  readonly help: string;
  readonly valueOf: (report: OriginReport) => number;
}[] = [
  {
    name: "damselfly_origin_suspensions_total",
    help: "Times an origin, or a file of one, was found to fail again and again, and was spared",
    valueOf: ({ openedCount }) => openedCount,
  },
  {
    name: "damselfly_origin_refusals_total",
    help: "Questions to origins that were refused at once, since these are spared",
    valueOf: ({ refusedCount }) => refusedCount,
  },
  {
    name: "damselfly_origin_waits_total",
    help: "Pauses before an origin was asked, and silences of five seconds",
    valueOf: ({ waitCount }) => waitCount,
  },
];
