import type { TransportReport } from "../data-plane/transport-report.ts";
import type { OriginReport } from "../origins/origin-guard.ts";
import type { TaskReport } from "../tasks/task-report.ts";
import type { HttpPage } from "./serve-http.ts";

/**
 * What the stats server answers. Dragonfly's daemons have profiles of themselves there (dragonfly-client,
 * stats/mod.rs); Node brings its own tools for that.
 */
export function statsPages(reports: {
  readonly transports: () => Promise<TransportReport>;
  readonly tasks: () => readonly TaskReport[];
  readonly origins: () => OriginReport;
}): ReadonlyMap<string, HttpPage> {
  const noProfile = (tool: string): HttpPage => ({
    contentType: "text/plain",
    statusCode: 501,
    render: async () => `there are no profiles here: start the daemon with node ${tool}\n`,
  });
  const json = (report: () => unknown): HttpPage => ({
    contentType: "application/json",
    render: async () => `${JSON.stringify(await report(), undefined, 1)}\n`,
  });
  return new Map([
    ["/api/tasks", json(reports.tasks)],
    ["/api/transports", json(reports.transports)],
    ["/api/origins", json(reports.origins)],
    ["/debug/pprof/profile", noProfile("--cpu-prof")],
    ["/debug/pprof/heap", noProfile("--heap-prof")],
  ]);
}
