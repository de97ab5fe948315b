import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { ServerAddress, TlsIdentity } from "@damselfly/transport";
import type { Fixture, FixtureOptions } from "@damselfly/transport/conformance";
import { serveTcp, type TcpPieceServer } from "../serve-tcp.ts";
import { createTcpDownloader, type TcpDownloader } from "../tcp-downloader.ts";

export interface TcpFixture extends Fixture {
  readonly downloader: TcpDownloader;
  readonly server: TcpPieceServer;
}

/**
 * For the conformance suite: a server and a downloader on loopback.
 *
 * @param how.serverTls with it the server takes TLS; `plain`: children without it, too
 * @param how.childTls with it the child dials with TLS
 * @param how.isHandedOver somebody else listens
 */
export async function openTcpFixture(
  { source, limits, timeouts, idleTimeoutMs }: FixtureOptions,
  how: {
    readonly plain: boolean;
    readonly serverTls?: TlsIdentity;
    readonly childTls?: TlsIdentity;
    /** Connections are accepted elsewhere. */
    readonly isHandedOver?: boolean;
  },
): Promise<TcpFixture> {
  const { plain, serverTls, childTls: tls, isHandedOver = false } = how;
  const front = isHandedOver ? await openFront((socket) => server.take(socket)) : undefined;
  const address = front?.address ?? { ip: "127.0.0.1", port: 0 };
  const server = await serveTcp({ source, limits, tls: serverTls, plain, address, isHandedOver });
  const { ip, port } = server.address;
  const downloader = createTcpDownloader({ timeouts, tls, pool: { idleTimeoutMs } });
  const others: TcpDownloader[] = [];
  return {
    downloader,
    parent: { hostId: "127.0.0.1-parent", ip, ports: { tcp: port } },
    server,
    async killParent() {
      front?.listener.close();
      await server.abort();
    },
    openConnections: () => downloader.connectionCount,
    openDownloader: async () => {
      const other = createTcpDownloader({ timeouts, tls });
      others.push(other);
      return other;
    },
    async [Symbol.asyncDispose]() {
      for (const each of [downloader, ...others]) await each[Symbol.asyncDispose]();
      front?.listener.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function openFront(
  take: (socket: Socket) => void,
): Promise<{ readonly listener: Server; readonly address: ServerAddress }> {
  const listener = createServer(take).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const bound = listener.address();
  if (bound === null || typeof bound === "string") throw new TypeError("expected a TCP port");
  return { listener, address: { ip: bound.address, port: bound.port } };
}
