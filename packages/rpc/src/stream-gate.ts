import type { Server } from "@grpc/grpc-js";
import {
  constants,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { CallLimits } from "./call-limits.ts";
import { resetOpenRequest, resetWhenAnswered } from "./reset-open-request.ts";
import type { RpcLimits } from "./rpc-limits.ts";
import { SessionLimits } from "./session-limits.ts";
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

export interface StreamGateOptions {
  readonly limits: RpcLimits;
  /** Whether callers send several messages at this path. */
  readonly isStreaming: (path: string) => boolean;
  /** A connection has begun to speak HTTP/2. @returns to be called when the other side has greeted */
  readonly onSession: (session: Http2Session) => () => void;
}

/**
 * Puts itself in front of grpc-js on the HTTP/2 servers that it made: takes the deadline off the calls that must outlive
 * it, has callers let go of calls that are over, and holds connections and calls to the limits. Floods of frames (resets, pings,
 * settings, continuations, empty ones) are nghttp2's affair, which ends the connection: `http2-floods.test.ts` shows that it does.
 *
 * grpc-js 1.14 has no option for any of it, so this reaches for its private list of servers.
 */
export function gateStreams(server: Server, options: StreamGateOptions): Disposable {
  const now = (): number => performance.now();
  const sessions = new SessionLimits({ ...options, now });
  const calls = new CallLimits({ ...options, now });
  for (const http2Server of http2ServersOf(server)) {
    http2Server.on("session", (session: Http2Session) => {
      sessions.add(session, session.socket.remoteAddress ?? "");
      session.once("remoteSettings", options.onSession(session));
      if (denialOf(session) !== undefined) {
        session.setTimeout(DENIED_SESSION_TIMEOUT_MS, () => session.destroy());
      }
    });
    const listeners = http2Server.listeners("stream");
    http2Server.removeAllListeners("stream");
    http2Server.on("stream", (stream, headers: IncomingHttpHeaders, flags) => {
      // A call fails unheard otherwise, and the process with it, where its connection breaks the protocol before anybody takes it.
      stream.on("error", () => {});
      const ip = letIn(stream, headers, { sessions, calls });
      if (ip === undefined) return;
      resetOpenRequest(stream);
      if (UNTIMED_PATHS.has(headers[":path"] ?? "")) delete headers["grpc-timeout"];
      for (const listener of listeners) listener.call(http2Server, stream, headers, flags);
      calls.watch(stream, headers, ip);
      // Answered already: there is no such method.
      if (stream.writableEnded) resetWhenAnswered(stream);
    });
  }
  return calls;
}

interface Refusal {
  readonly code: StatusName;
  readonly message: string;
}

const TOO_MANY: Refusal = { code: "RESOURCE_EXHAUSTED", message: "too many connections" };
/**
 * grpc-js would inflate a few KiB to the longest message that there may be, a thousand times over, and none of the limits would see it.
 * Nobody compresses what goes between daemons.
 */
const COMPRESSED: Refusal = {
  code: "UNIMPLEMENTED",
  message: "messages are compressed, none are taken but as they are",
};
const UNCOMPRESSED: ReadonlySet<unknown> = new Set([undefined, "identity"]);
/** A connection whose calls are refused, and on which nothing happens, is closed after this. Milliseconds. */
const DENIED_SESSION_TIMEOUT_MS = 2_000;

/** @returns where the call comes from; undefined: it goes no further */
function letIn(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  { sessions, calls }: { readonly sessions: SessionLimits; readonly calls: CallLimits },
): string | undefined {
  const { session } = stream;
  if (session === undefined) return undefined; // gone already
  const begun = sessions.begin(session);
  if (begun === "flood") return undefined;
  const denial = denialOf(session);
  if (begun === "refused" || denial !== undefined) {
    refuse(stream, denial ?? TOO_MANY);
    session.close();
    if (begun !== "refused") begun();
    return undefined;
  }
  stream.once("close", begun);
  if (!UNCOMPRESSED.has(headers["grpc-encoding"])) {
    refuse(stream, COMPRESSED);
    return undefined;
  }
  const ip = sessions.addressOf(session);
  const message = calls.refusalOf(headers, ip);
  if (message === undefined) return ip;
  refuse(stream, { code: "RESOURCE_EXHAUSTED", message });
  return undefined;
}

function denialOf(session: Http2Session): Refusal | undefined {
  const message: unknown = Reflect.get(session.socket, REFUSAL);
  return typeof message === "string" ? { code: "PERMISSION_DENIED", message } : undefined;
}

/** A whole answer in one header block, as gRPC's HTTP/2 mapping allows ("Trailers-Only"). */
function refuse(stream: ServerHttp2Stream, { code, message }: Refusal): void {
  stream.respond(
    {
      [constants.HTTP2_HEADER_STATUS]: 200,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      "grpc-status": String(statusCode(code)),
      "grpc-accept-encoding": "identity",
      // Percent-encoded, but for what may stand in a header (gRPC's HTTP/2 mapping, Status-Message).
      "grpc-message": encodeURI(message).replaceAll("%20", " "),
    },
    { endStream: true },
  );
  resetWhenAnswered(stream);
}

function http2ServersOf(server: Server): readonly Http2Server[] {
  const servers: unknown = Reflect.get(server, "http2Servers");
  if (!(servers instanceof Map) || servers.size === 0) {
    throw new Error("Cannot serve: this version of grpc-js keeps its HTTP/2 servers elsewhere");
  }
  return [...servers.keys()];
}
