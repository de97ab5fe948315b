/** For the tests of what is built on an endpoint, or stands in for one. */
export {
  initialKeys,
  openInitial,
  type PacketKeys,
  sealInitial,
  sealShort,
  trafficKeys,
} from "./testing/handmade-packet.ts";
export { createQueue } from "./testing/open-pair.ts";
export { failureOf, pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";
export {
  type Datagram,
  MemoryNetwork,
  type MemoryNetworkOptions,
} from "./testing/memory-network.ts";
export { openTicket, type TicketScope, toTicket } from "./ticket.ts";
