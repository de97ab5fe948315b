import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { registerDataPlaneMetrics } from "./data-plane-metrics.ts";

it("registerDataPlaneMetrics counts restarts by how a process ended, and remembers over a reset that QUIC is left out", async () => {
  const registry = new Registry();
  const observer = registerDataPlaneMetrics(registry);
  expect(await registry.metrics()).toContain("damselfly_quic_left_out 0");
  observer.dataPlaneReplaced("was ended by SIGABRT", 400);
  observer.dataPlaneReplaced("was ended by SIGABRT", 600);
  observer.quicLeftOut();
  const text = await registry.metrics();
  expect(text).toContain('damselfly_data_plane_restarts_total{end="was ended by SIGABRT"} 2');
  expect(text).toContain("damselfly_data_plane_restart_seconds_total 1");
  registry.resetMetrics();
  expect(await registry.metrics()).toContain("damselfly_quic_left_out 1");
});
