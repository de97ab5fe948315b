import { once } from "node:events";
import { implementService, type ImplementedService } from "./implement-service.ts";
import { status } from "./rpc-error.ts";

/** Who watches at once. A cluster's tools are a few, and the requests of this service are not held to a rate. */
const WATCHER_COUNT_MAX = 1_000;

/** The health service of a server with these services; they serve until `closing` aborts. "" is the server as such. */
export function createHealthService(
  serviceNames: readonly string[],
  closing: AbortSignal,
): ImplementedService {
  const known = new Set(["", ...serviceNames]);
  let watcherCount = 0;
  return implementService("grpc.health.v1.Health", {
    check: async ({ service }) => {
      if (!known.has(service)) throw status("NOT_FOUND", `unknown service ${service}`);
      return { status: closing.aborted ? "NOT_SERVING" : "SERVING" };
    },
    async *watch({ service }, { signal }) {
      if (watcherCount >= WATCHER_COUNT_MAX) {
        throw status("RESOURCE_EXHAUSTED", `${watcherCount} watch already`);
      }
      watcherCount += 1;
      try {
        const isKnown = known.has(service);
        yield { status: isKnown ? "SERVING" : "SERVICE_UNKNOWN" };
        if (!closing.aborted) await once(closing, "abort", { signal });
        if (isKnown) yield { status: "NOT_SERVING" };
      } finally {
        watcherCount -= 1;
      }
    },
  });
}
