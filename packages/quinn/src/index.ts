export { createIdentity, peerKeyOf, type QuinnIdentity, readIdentity } from "./identity.ts";
export { loadQuinn } from "./load-quinn.ts";
export type { QuinnEndpoint, QuinnEndpointOptions } from "./quinn.ts";
export { openQuinnEndpoint } from "./quinn-endpoint.ts";
export { quinnOpener } from "./quinn-opener.ts";
