import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

/** How the origin answers for one path. What is not said is as a good server does it. */
export interface Behaviour {
  /** Bytes of the file; none without it. */
  readonly content?: Uint8Array;
  /** As sent, quotes included; false sends none. A hash of nothing but the length by default: set it where content changes. */
  readonly etag?: string | false;
  readonly lastModified?: string | false;
  /** False: Range is ignored and Accept-Ranges not sent. */
  readonly ranges?: boolean;
  /** False: HEAD is answered with 405. */
  readonly head?: boolean;
  /** True: no Content-Length. `"close"`: nor chunks, the end of the connection is the end of the body. */
  readonly chunked?: boolean | "close";
  /** True: content is sent gzip-encoded whatever was asked for. */
  readonly gzip?: boolean;
  /** Added to what Content-Length announces; the body stays as it is, so it is too short or too long. */
  readonly announcedExtraBytes?: number;
  /** After this many body bytes of an answer the connection is cut. */
  readonly cutAfterBytes?: number;
  /** How: `"end"` says goodbye, `"reset"` does not. */
  readonly cut?: "end" | "reset";
  /** Status instead of the file. */
  readonly status?: number;
  readonly reason?: string;
  /** Sent besides, and over, what would be sent. */
  readonly header?: OutgoingHttpHeaders;
  /** Sends there; 302 unless `status` says otherwise. */
  readonly redirectTo?: string;
  /** Value that the Authorization field must have: else 401 without any, 403 with another. */
  readonly authorization?: string;
  /** Of body, for all requests of the path together. */
  readonly bytesPerSecond?: number;
  /** Awaited before every chunk of body (64 KiB), told how many bytes of this answer have been sent. */
  readonly beforeChunk?: (sentBytes: number) => Promise<void> | void;
  /** Takes the answer over altogether. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => void;
}

export interface ServedRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly header: IncomingMessage["headers"];
  statusCode: number;
  /** Body bytes handed to the connection; it may have been cut before they arrived. */
  bodyBytes: number;
}

export interface OriginServer extends AsyncDisposable {
  /** `http://127.0.0.1:12345`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Accepted so far. */
  readonly connectionCount: number;
  /** In order of arrival. */
  readonly requests: readonly ServedRequest[];
  /** From now on `path` (without a query) is answered so; a function is asked for every request, told how many came before it. */
  set(
    path: string,
    behaviour: Behaviour | ((request: IncomingMessage, earlierCount: number) => Behaviour),
  ): void;
  /** Of one path, or of all; of all methods. */
  requestsTo(path: string): ServedRequest[];
  bodyBytes(path?: string): number;
}

export interface OriginServerOptions {
  readonly files?: Readonly<Record<string, Behaviour>>;
  /** HTTPS with this certificate. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** 127.0.0.1 by default. */
  readonly host?: string;
  /** A free one by default. */
  readonly port?: number;
}

/** An HTTP or HTTPS server that behaves as badly as a test wants, and counts what it serves. */
export async function openOriginServer(options: OriginServerOptions = {}): Promise<OriginServer> {
  const { files = {}, tls, host = "127.0.0.1", port: wantedPort = 0 } = options;
  const behaviours = new Map<
    string,
    Behaviour | ((request: IncomingMessage, earlierCount: number) => Behaviour)
  >(Object.entries(files));
  const requests: ServedRequest[] = [];
  const earlierCounts = new Map<string, number>();
  const paces = new Map<string, Pace>();

  const listener: RequestListener = (request, response) => {
    const path = new URL(request.url ?? "/", "http://any").pathname;
    const served = {
      method: request.method ?? "",
      path: request.url ?? "",
      header: request.headers,
      statusCode: 0,
      bodyBytes: 0,
    };
    requests.push(served);
    const earlierCount = earlierCounts.get(path) ?? 0;
    earlierCounts.set(path, earlierCount + 1);
    const scripted = behaviours.get(path) ?? { status: 404 };
    const behaviour = typeof scripted === "function" ? scripted(request, earlierCount) : scripted;
    const pace = paces.get(path) ?? { freeMs: 0 };
    paces.set(path, pace);
    // A client that goes away is no fault of the server.
    answer({ request, response, behaviour, served, pace }).catch(() => response.destroy());
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.keepAliveTimeout = 60_000;
  let connectionCount = 0;
  server.on("connection", () => {
    connectionCount += 1;
  });
  server.listen(wantedPort, host);
  await once(server, "listening");
  // oxlint-disable-next-line no-unsafe-type-assertion -- a TCP server's address is one
  const { port } = server.address() as AddressInfo;

  return {
    url: `${tls === undefined ? "http" : "https"}://${host}:${port}`,
    port,
    get connectionCount() {
      return connectionCount;
    },
    requests,
    set: (path, behaviour) => void behaviours.set(path, behaviour),
    requestsTo: (path) => requests.filter((request) => request.path.split("?")[0] === path),
    bodyBytes: (path) =>
      requests
        .filter((request) => path === undefined || request.path.split("?")[0] === path)
        .reduce((total, request) => total + request.bodyBytes, 0),
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Pace {
  /** When the next byte may be sent. */
  freeMs: number;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly behaviour: Behaviour;
  readonly served: ServedRequest;
  readonly pace: Pace;
}

const CHUNK_LENGTH = 64 * 1024;

async function answer(exchange: Exchange): Promise<void> {
  const { request, response, behaviour, served } = exchange;
  response.on("error", () => {});
  if (behaviour.answer !== undefined) {
    behaviour.answer(request, response);
    return;
  }
  const { statusCode, header, body } = compose(request, behaviour);
  served.statusCode = statusCode;
  if (behaviour.chunked === "close") {
    response.useChunkedEncodingByDefault = false;
    response.removeHeader("transfer-encoding");
  }
  const fields = { ...header, ...behaviour.header };
  if (behaviour.reason === undefined) response.writeHead(statusCode, fields);
  else response.writeHead(statusCode, behaviour.reason, fields);
  if (request.method === "HEAD") response.end();
  else await sendBody(exchange, body);
}

interface Composed {
  readonly statusCode: number;
  readonly header: OutgoingHttpHeaders;
  readonly body: Uint8Array;
}

function compose(request: IncomingMessage, behaviour: Behaviour): Composed {
  const { status, redirectTo, authorization, head = true } = behaviour;
  if (request.method === "HEAD" && !head) return explain(405, { allow: "GET" });
  if (redirectTo !== undefined) return explain(status ?? 302, { location: redirectTo });
  if (authorization !== undefined && request.headers.authorization !== authorization) {
    const given = request.headers.authorization !== undefined;
    return given ? explain(403, {}) : explain(401, { "www-authenticate": 'Basic realm="origin"' });
  }
  return status === undefined ? composeFile(request, behaviour) : explain(status, {});
}

function explain(statusCode: number, header: OutgoingHttpHeaders): Composed {
  const body = Buffer.from(`this is a ${statusCode}\n`);
  return {
    statusCode,
    header: { "content-type": "text/plain", "content-length": body.byteLength, ...header },
    body,
  };
}

function composeFile(request: IncomingMessage, behaviour: Behaviour): Composed {
  const { ranges = true, chunked = false, gzip = false, announcedExtraBytes = 0 } = behaviour;
  const plain = behaviour.content ?? new Uint8Array(0);
  const content = gzip ? gzipSync(plain) : plain;
  const { etag = `"${content.byteLength}"`, lastModified = "Tue, 01 Oct 2024 10:00:00 GMT" } =
    behaviour;
  const header: OutgoingHttpHeaders = {
    "content-type": "application/octet-stream",
    ...(ranges ? { "accept-ranges": "bytes" } : {}),
    ...(gzip ? { "content-encoding": "gzip" } : {}),
    ...(etag === false ? {} : { etag }),
    ...(lastModified === false ? {} : { "last-modified": lastModified }),
  };
  const sized = (body: Uint8Array, statusCode: number, fields: OutgoingHttpHeaders): Composed => {
    const length =
      chunked === false ? { "content-length": body.byteLength + announcedExtraBytes } : {};
    return { statusCode, header: { ...header, ...length, ...fields }, body };
  };

  const ifRange = request.headers["if-range"];
  const current = ifRange === undefined || ifRange === etag || ifRange === lastModified;
  const range = ranges && current ? /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "") : null;
  if (range === null) return sized(content, 200, {});
  const total = content.byteLength;
  const first = range[1] === "" ? Math.max(0, total - Number(range[2])) : Number(range[1]);
  const last =
    range[1] === "" || range[2] === "" ? total - 1 : Math.min(Number(range[2]), total - 1);
  if (first >= total) return sized(new Uint8Array(0), 416, { "content-range": `bytes */${total}` });
  return sized(content.subarray(first, last + 1), 206, {
    "content-range": `bytes ${first}-${last}/${total}`,
  });
}

async function sendBody(
  { response, behaviour, served, pace }: Exchange,
  body: Uint8Array,
): Promise<void> {
  const {
    cutAfterBytes,
    cut = "end",
    beforeChunk,
    bytesPerSecond,
    announcedExtraBytes = 0,
  } = behaviour;
  const end = Math.min(body.byteLength, cutAfterBytes ?? Number.POSITIVE_INFINITY);
  const chunkLength =
    bytesPerSecond === undefined
      ? CHUNK_LENGTH
      : Math.max(1, Math.min(CHUNK_LENGTH, Math.floor(bytesPerSecond / 20)));
  let sent = 0;
  while (sent < end) {
    await beforeChunk?.(sent);
    const chunk = body.subarray(sent, Math.min(end, sent + chunkLength));
    if (bytesPerSecond !== undefined) await keepPace(pace, chunk.byteLength / bytesPerSecond);
    if (response.destroyed) return;
    sent += chunk.byteLength;
    served.bodyBytes += chunk.byteLength;
    if (!response.write(chunk)) await drained(response);
  }
  const { socket } = response;
  if (cutAfterBytes === undefined && announcedExtraBytes <= 0) {
    response.end();
    // What was sent too much must not be taken for the next answer.
    if (announcedExtraBytes < 0) socket?.end();
  } else {
    await beforeChunk?.(sent);
    // The empty write is called back when all before it has left.
    await new Promise<void>((resolve) => response.write("", () => resolve()));
    if (cut === "reset") socket?.resetAndDestroy();
    else socket?.end();
  }
}

/** Resolves when more can be written, or when nobody is there any more. */
async function drained(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

async function keepPace(pace: Pace, seconds: number): Promise<void> {
  const now = performance.now();
  const startMs = Math.max(now, pace.freeMs);
  pace.freeMs = startMs + seconds * 1000;
  if (startMs > now) await sleep(startMs - now);
}

/** Bytes that look random and are the same for the same seed: a 32-bit xorshift (Marsaglia, 2003). */
export function seededContent(length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = Math.imul(seed, 2_654_435_761) | 1;
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}
