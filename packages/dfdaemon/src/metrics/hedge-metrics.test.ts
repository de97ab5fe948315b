import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { registerHedgeMetrics } from "./hedge-metrics.ts";

it("registerHedgeMetrics counts by who was asked and why, and what came twice", async () => {
  const registry = new Registry();
  const tally = registerHedgeMetrics(registry);
  tally.hedged("parent", "silent");
  tally.hedged("parent", "silent");
  tally.hedged("origin", "crawled");
  tally.doubled(10);
  tally.doubled(5);
  const text = await registry.metrics();
  expect(text).toContain('damselfly_hedges_total{to="parent",reason="silent"} 2');
  expect(text).toContain('damselfly_hedges_total{to="origin",reason="crawled"} 1');
  expect(text).toContain("damselfly_hedge_doubled_bytes_total 15");
});
