import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import type { OriginReport } from "../origins/origin-guard.ts";
import { registerOriginMetrics } from "./origin-metrics.ts";

const host = { failureCount: 0, requestCount: 1, faultCount: 0, failingFileCount: 0 };
const REPORT: OriginReport = {
  hosts: [
    { ...host, origin: "http://a", state: "closed" },
    { ...host, origin: "http://b", state: "open" },
    { ...host, origin: "http://c", state: "closed" },
  ],
  openedCount: 3,
  refusedCount: 7,
  waitCount: 11,
};

describe("registerOriginMetrics", () => {
  it("shows how origins do, and how files compare, and names none of them", async () => {
    const registry = new Registry();
    const digests = registerOriginMetrics(registry, () => REPORT);
    digests.checked({ algorithm: "sha256", isGood: true });
    digests.checked({ algorithm: "md5", isGood: false });
    const text = await registry.metrics();
    expect(text.split("\n").filter((line) => line.startsWith("damselfly_"))).toEqual([
      'damselfly_origin_hosts{state="closed"} 2',
      'damselfly_origin_hosts{state="open"} 1',
      'damselfly_origin_hosts{state="half-open"} 0',
      "damselfly_origin_suspensions_total 3",
      "damselfly_origin_refusals_total 7",
      "damselfly_origin_waits_total 11",
      'damselfly_digest_checks_total{algorithm="sha256",outcome="good"} 1',
      'damselfly_digest_checks_total{algorithm="md5",outcome="wrong"} 1',
    ]);
    expect(text).not.toContain("http://");
    expect(await registry.metrics()).toContain("damselfly_origin_suspensions_total 3");
  });
});
