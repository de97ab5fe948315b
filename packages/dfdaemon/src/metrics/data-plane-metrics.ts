import { Counter, Gauge, type Registry } from "prom-client";
import type { DataPlaneObserver } from "../data-plane/processes/control/worker-slot.ts";

/** Registers what becomes of the processes that move content, under names of our own, and counts it. */
export function registerDataPlaneMetrics(registry: Registry): DataPlaneObserver {
  const registers = [registry];
  const restarts = new Counter({
    name: "damselfly_data_plane_restarts_total",
    help: "Data-plane processes that ended in the middle and were replaced, by how they ended",
    labelNames: ["end"],
    registers,
  });
  const restartSeconds = new Counter({
    name: "damselfly_data_plane_restart_seconds_total",
    help: "Time from those ends to when another process served, added up",
    registers,
  });
  let isQuicLeftOut = false;
  const leftOut: Gauge = new Gauge({
    name: "damselfly_quic_left_out",
    help: "1 when QUIC is left out because data-plane processes ended again and again",
    registers,
    // Not a count, but how things are: a reset does not change it.
    collect(): void {
      leftOut.set(isQuicLeftOut ? 1 : 0);
    },
  });
  return {
    dataPlaneReplaced(end, replacedMs) {
      restarts.inc({ end });
      restartSeconds.inc(replacedMs / 1000);
    },
    quicLeftOut() {
      isQuicLeftOut = true;
    },
  };
}
