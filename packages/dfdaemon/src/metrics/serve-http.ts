import { once } from "node:events";
import { createServer } from "node:http";
import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";
import { HttpConnections } from "./http-connections.ts";
import { DEFAULT_HTTP_LIMITS, type HttpLimits } from "./http-limits.ts";

/** What a path answers: a content type and a text made at each request. */
export interface HttpPage {
  readonly contentType: string;
  readonly render: () => Promise<string>;
  /** What DELETE does; without it there is none. */
  readonly clear?: () => void;
  /** Default 200. */
  readonly statusCode?: number;
}

/** A listening HTTP server. Disposing closes it and its connections. */
export interface HttpServer extends AsyncDisposable {
  readonly address: { readonly ip: string; readonly port: number };
}

/**
 * Serves a few texts over HTTP: health, metrics, stats. GET and HEAD, and DELETE where there is something to clear; what
 * is not there is 404. Whoever asks for a page while it is made gets the same one.
 *
 * @throws {DaemonError} `ERR_LISTEN`
 */
export async function serveHttp(
  name: string,
  address: { readonly ip: string; readonly port: number },
  pages: ReadonlyMap<string, HttpPage>,
  options: { readonly limits?: Partial<HttpLimits> } = {},
): Promise<HttpServer> {
  const limits = { ...DEFAULT_HTTP_LIMITS, ...options.limits };
  const connections = new HttpConnections(limits);
  const render = createPrinter();
  const settings = {
    maxHeaderSize: limits.headerLengthMax,
    headersTimeout: limits.requestMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.min(1_000, limits.requestMs),
  };
  const server = createServer(settings, (request, response) => {
    if (!connections.mayAsk(request)) {
      response.writeHead(429, { connection: "close" }).end("too many requests\n");
      return;
    }
    const page = pages.get((request.url ?? "").split("?", 1)[0] ?? "");
    if (page === undefined) {
      response.writeHead(404).end("not found\n");
    } else if (request.method === "DELETE" && page.clear !== undefined) {
      page.clear();
      response.writeHead(200).end();
    } else if (request.method !== "GET" && request.method !== "HEAD") {
      const allow = page.clear === undefined ? "GET, HEAD" : "GET, HEAD, DELETE";
      response.writeHead(405, { allow }).end();
    } else {
      render(page).then(
        (text) =>
          response
            .writeHead(page.statusCode ?? 200, { "content-type": page.contentType })
            .end(text),
        (error: unknown) => response.writeHead(500).end(`${messageOf(error)}\n`),
      );
    }
  });
  server.timeout = limits.stallMs;
  connections.watch(server);
  try {
    server.listen(address.port, address.ip);
    await once(server, "listening");
  } catch (error) {
    throw new DaemonError(
      "ERR_LISTEN",
      `Cannot serve ${name} at ${address.ip}:${address.port}: ${codeOf(error) === "EADDRINUSE" ? "another process is serving there" : messageOf(error)}`,
      { cause: error },
    );
  }
  const bound = server.address();
  return {
    address: {
      ip: address.ip,
      port: bound !== null && typeof bound === "object" ? bound.port : address.port,
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Makes each page once for all who ask for it meanwhile: their answers are the same bytes. */
function createPrinter(): (page: HttpPage) => Promise<Buffer> {
  const printing = new Map<HttpPage, Promise<Buffer>>();
  return async (page) => {
    const running = printing.get(page);
    if (running !== undefined) return await running;
    const print = page.render().then((text) => Buffer.from(text));
    printing.set(page, print);
    try {
      return await print;
    } finally {
      printing.delete(page);
    }
  };
}
