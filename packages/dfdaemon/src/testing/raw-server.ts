import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";

/** Something that listens on 127.0.0.1 and says what a test makes it say, byte by byte. */
export interface RawServer extends AsyncDisposable {
  readonly port: number;
}

export interface RawConnection {
  /** Inside TLS, if that is spoken. */
  readonly socket: Socket;
  /** Breaks it off without a word. */
  readonly reset: () => void;
}

/** Calls `serve` with each connection, once its first bytes have come: as good as a request where the client sends it in one. */
export async function openRawServer(
  serve: (connection: RawConnection, request: Buffer) => void,
  options: { readonly tls?: { readonly cert: string; readonly key: string } } = {},
): Promise<RawServer> {
  const sockets = new Set<Socket>();
  const secureContext = options.tls && createSecureContext(options.tls);
  const server = createServer((raw) => {
    sockets.add(raw);
    // Its peer may break off whenever it likes.
    raw.on("error", () => {}).on("close", () => sockets.delete(raw));
    const socket = secureContext ? new TLSSocket(raw, { isServer: true, secureContext }) : raw;
    socket.on("error", () => {});
    const reset = (): void => void raw.resetAndDestroy();
    socket.once("data", (request: Buffer) => serve({ socket, reset }, request));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line no-unsafe-type-assertion -- a TCP server's address is one
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A forward proxy for plain HTTP by absolute URL that hands bytes on as they come, the end of a connection as it ends. */
export function openRawProxy(): Promise<RawServer> {
  return openRawServer(({ socket: client, reset }, request) => {
    const line = /^(\w+) http:\/\/([^/: ]+):(\d+)(\S*) /.exec(request.toString("latin1"));
    if (line === null) {
      client.destroy();
      return;
    }
    const [start, method, host, port, path] = line;
    const origin = connect(Number(port), host);
    origin.write(`${method} ${path} `);
    origin.write(request.subarray(start.length));
    client.pipe(origin).pipe(client);
    origin.on("error", reset);
    client.on("close", () => origin.destroy());
  });
}

/**
 * Lets everything in this process come to rest that the network can bring to rest: what one socket has written has arrived at
 * the other after a few turns of the event loop, however busy the machine is.
 */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn += 1) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
