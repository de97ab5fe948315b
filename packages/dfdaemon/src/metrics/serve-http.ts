import { once } from "node:events";
import { createServer } from "node:http";
import { codeOf } from "../code-of.ts";
import { DaemonError } from "../errors.ts";
import { messageOf } from "../message-of.ts";

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
 * is not there is 404.
 *
 * @throws {DaemonError} `ERR_LISTEN`
 */
export async function serveHttp(
  name: string,
  address: { readonly ip: string; readonly port: number },
  pages: ReadonlyMap<string, HttpPage>,
): Promise<HttpServer> {
  const server = createServer((request, response) => {
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
      page.render().then(
        (text) =>
          response
            .writeHead(page.statusCode ?? 200, { "content-type": page.contentType })
            .end(text),
        (error: unknown) => response.writeHead(500).end(`${messageOf(error)}\n`),
      );
    }
  });
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
