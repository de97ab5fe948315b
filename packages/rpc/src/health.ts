import { once } from "node:events";
import { implementService, type ImplementedService } from "./implement-service.ts";
import { status } from "./rpc-error.ts";

/** The health service of a server with these services; they serve until `closing` aborts. "" is the server as such. */
export function createHealthService(
  serviceNames: readonly string[],
  closing: AbortSignal,
): ImplementedService {
  const known = new Set(["", ...serviceNames]);
  return implementService("grpc.health.v1.Health", {
    check: async ({ service }) => {
      if (!known.has(service)) throw status("NOT_FOUND", `unknown service ${service}`);
      return { status: closing.aborted ? "NOT_SERVING" : "SERVING" };
    },
    async *watch({ service }, { signal }) {
      const isKnown = known.has(service);
      yield { status: isKnown ? "SERVING" : "SERVICE_UNKNOWN" };
      if (!closing.aborted) await once(closing, "abort", { signal });
      if (isKnown) yield { status: "NOT_SERVING" };
    },
  });
}
