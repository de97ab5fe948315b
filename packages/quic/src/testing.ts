/** For the tests of what is built on an endpoint, or stands in for one. */
export { createQueue } from "./testing/open-pair.ts";
export { failureOf, pattern, readAll, serveEcho } from "./testing/stream-bytes.ts";
