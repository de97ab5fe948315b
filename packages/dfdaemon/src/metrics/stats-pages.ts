import type { TransportReport } from "../data-plane/transport-report.ts";
import type { OriginReport } from "../origins/origin-guard.ts";
import type { HttpPage } from "./serve-http.ts";

/**
 * What the stats server answers. Dragonfly's daemons have profiles of themselves there (dragonfly-client,
 * stats/mod.rs); Node brings its own tools for that.
 */
export function statsPages(
  report: () => Promise<TransportReport>,
  origins: () => OriginReport,
): ReadonlyMap<string, HttpPage> {
  const noProfile = (tool: string): HttpPage => ({
    contentType: "text/plain",
    statusCode: 501,
    render: async () => `there are no profiles here: start the daemon with node ${tool}\n`,
  });
  return new Map([
    [
      "/api/transports",
      {
        contentType: "application/json",
        render: async () => `${JSON.stringify(await report(), undefined, 1)}\n`,
      },
    ],
    [
      "/api/origins",
      {
        contentType: "application/json",
        render: async () => `${JSON.stringify(origins(), undefined, 1)}\n`,
      },
    ],
    ["/debug/pprof/profile", noProfile("--cpu-prof")],
    ["/debug/pprof/heap", noProfile("--heap-prof")],
  ]);
}
