import type { QuicEndpointOptions } from "@damselfly/quic";
import type { QuinnEndpoint, QuinnEndpointOptions } from "./quinn.ts";
import { openQuinnEndpoint } from "./quinn-endpoint.ts";

/** For `openEndpoint` of a transport: its options, and who we and our peers are. */
export function quinnOpener(
  who: Pick<QuinnEndpointOptions, "privateKey" | "isKnownPeer">,
): (options: QuicEndpointOptions) => Promise<QuinnEndpoint> {
  return (options) => openQuinnEndpoint({ ...options, ...who });
}
