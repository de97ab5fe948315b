import { once } from "node:events";
import { createServer, request as sendRequest, type IncomingMessage } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";

export interface ProxyServer extends AsyncDisposable {
  readonly url: string;
  /** What was asked of it, in order: `GET http://host/path`, `CONNECT host:443`. */
  readonly requests: readonly string[];
}

/** A forward proxy: plain HTTP by absolute URL, anything else through CONNECT. With `authorization` it wants that in Proxy-Authorization. */
export async function openProxyServer(
  options: { readonly authorization?: string } = {},
): Promise<ProxyServer> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const isWelcome = ({ headers }: IncomingMessage): boolean =>
    options.authorization === undefined || headers["proxy-authorization"] === options.authorization;

  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (!isWelcome(request)) {
      response.writeHead(407, { "proxy-authenticate": "Basic", "content-length": 0 }).end();
      return;
    }
    const { "proxy-authorization": _own, ...headers } = request.headers;
    const onward = sendRequest(
      request.url ?? "",
      { method: request.method ?? "GET", headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on("error", () => response.writeHead(502).end());
    onward.end();
  });
  server.on("connect", (request: IncomingMessage, client: Socket) => {
    requests.push(`CONNECT ${request.url}`);
    if (!isWelcome(request)) {
      client.end("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n");
      return;
    }
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = connect(Number(port) || 80, hostname, () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line no-unsafe-type-assertion -- a TCP server's address is one
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
