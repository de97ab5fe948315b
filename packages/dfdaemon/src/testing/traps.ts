import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** Ports that behave as firewalls and dead machines do. */
export interface Traps extends AsyncDisposable {
  /** Takes datagrams and says nothing. */
  readonly udpPort: number;
  /** Takes connections and says nothing. */
  readonly tcpPort: number;
  /** Connections that it has taken so far. */
  readonly connectionCount: number;
  /** Nobody listens. */
  readonly closedPort: number;
}

export async function openTraps(): Promise<Traps> {
  const udp = createSocket("udp4");
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  const sockets = new Set<Socket>();
  const tcp = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  tcp.listen(0, "127.0.0.1");
  await once(tcp, "listening");
  const closed = createServer();
  closed.listen(0, "127.0.0.1");
  await once(closed, "listening");
  const portOf = (server: Server): number => {
    const address = server.address();
    if (address === null || typeof address === "string") throw new TypeError("expected a port");
    return address.port;
  };
  const closedPort = portOf(closed);
  closed.close();
  return {
    udpPort: udp.address().port,
    tcpPort: portOf(tcp),
    closedPort,
    get connectionCount() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      udp.close();
      for (const socket of sockets) socket.destroy();
      tcp.close();
      await once(tcp, "close");
    },
  };
}
