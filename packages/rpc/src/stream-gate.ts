import type { Server } from "@grpc/grpc-js";
import {
  constants,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { resetOpenRequest } from "./reset-open-request.ts";
import { statusCode, type StatusName } from "./status.ts";

/**
 * Calls whose deadline bounds the time until the headers only. Dragonfly's daemons send `grpc-timeout: 10S` on streams
 * that live as long as a download; grpc-js would end them after 10 s.
 */
const UNTIMED_PATHS = new Set([
  "/dfdaemon.v2.DfdaemonUpload/SyncPieces",
  "/dfdaemon.v2.DfdaemonUpload/SyncHost",
]);

/** Why whoever is at the other end of a socket is refused whatever it asks for. */
const REFUSAL: unique symbol = Symbol("why its calls are refused");

/** Has every call on a connection answered `PERMISSION_DENIED`; to be called before HTTP/2 takes it. */
export function refuseCalls(socket: Socket, reason: string): void {
  Object.defineProperty(socket, REFUSAL, { value: reason });
}

/**
 * Puts itself in front of grpc-js on the HTTP/2 servers that it made: takes the deadline off the calls that must outlive
 * it, has callers let go of calls that are over, and refuses what comes over a connection too many, or one refused.
 *
 * grpc-js 1.14 has no option for any of it, so this reaches for its private list of servers.
 */
export function gateStreams(
  server: Server,
  { connectionCountMax }: { readonly connectionCountMax: number },
): void {
  const http2Servers = http2ServersOf(server);
  const refusals = refuseSessions(connectionCountMax, http2Servers);
  for (const http2Server of http2Servers) {
    const listeners = http2Server.listeners("stream");
    http2Server.removeAllListeners("stream");
    http2Server.on("stream", (stream, headers: IncomingHttpHeaders, flags) => {
      const refusal = stream.session === undefined ? undefined : refusals.get(stream.session);
      if (refusal !== undefined) {
        refuse(stream, refusal);
        return;
      }
      resetOpenRequest(stream);
      if (UNTIMED_PATHS.has(headers[":path"] ?? "")) delete headers["grpc-timeout"];
      for (const listener of listeners) listener.call(http2Server, stream, headers, flags);
    });
  }
}

interface Refusal {
  readonly code: StatusName;
  readonly message: string;
}

/** Sessions beyond the limit on all servers, and refused ones; each may make one call, which is refused, and is closed then or after a while. */
function refuseSessions(
  countMax: number,
  http2Servers: readonly Http2Server[],
): WeakMap<Http2Session, Refusal> {
  const refusals = new WeakMap<Http2Session, Refusal>();
  let count = 0;
  const countSession = (session: Http2Session): void => {
    count += 1;
    session.once("close", () => (count -= 1));
    const reason: unknown = Reflect.get(session.socket, REFUSAL);
    if (count <= countMax && typeof reason !== "string") return;
    refusals.set(
      session,
      typeof reason === "string" ? { code: "PERMISSION_DENIED", message: reason } : TOO_MANY,
    );
    session.setTimeout(REFUSED_SESSION_TIMEOUT_MS, () => session.close());
  };
  for (const http2Server of http2Servers) http2Server.on("session", countSession);
  return refusals;
}

const TOO_MANY: Refusal = { code: "RESOURCE_EXHAUSTED", message: "too many connections" };
const REFUSED_SESSION_TIMEOUT_MS = 2_000;

/** A whole answer in one header block, as gRPC's HTTP/2 mapping allows ("Trailers-Only"); then the connection ends. */
function refuse(stream: ServerHttp2Stream, { code, message }: Refusal): void {
  stream.on("error", () => {}); // the caller may have gone already
  stream.respond(
    {
      [constants.HTTP2_HEADER_STATUS]: 200,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      "grpc-status": String(statusCode(code)),
      // Percent-encoded, but for what may stand in a header (gRPC's HTTP/2 mapping, Status-Message).
      "grpc-message": encodeURI(message).replaceAll("%20", " "),
    },
    { endStream: true },
  );
  stream.session?.close();
}

function http2ServersOf(server: Server): readonly Http2Server[] {
  const servers: unknown = Reflect.get(server, "http2Servers");
  if (!(servers instanceof Map) || servers.size === 0) {
    throw new Error("Cannot serve: this version of grpc-js keeps its HTTP/2 servers elsewhere");
  }
  return [...servers.keys()];
}
