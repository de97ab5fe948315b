import type { TlsIdentity } from "@damselfly/transport";
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
 */
export async function openTcpFixture(
  { source, limits, timeouts, idleTimeoutMs }: FixtureOptions,
  how: {
    readonly plain: boolean;
    readonly serverTls?: TlsIdentity;
    readonly childTls?: TlsIdentity;
  },
): Promise<TcpFixture> {
  const address = { ip: "127.0.0.1", port: 0 };
  const { plain, serverTls, childTls: tls } = how;
  const server = await serveTcp({ source, limits, tls: serverTls, plain, address });
  const { ip, port } = server.address;
  const downloader = createTcpDownloader({ timeouts, tls, pool: { idleTimeoutMs } });
  const others: TcpDownloader[] = [];
  return {
    downloader,
    parent: { hostId: "127.0.0.1-parent", ip, ports: { tcp: port } },
    server,
    killParent: () => server.abort(),
    openConnections: () => downloader.connectionCount,
    openDownloader: async () => {
      const other = createTcpDownloader({ timeouts, tls });
      others.push(other);
      return other;
    },
    async [Symbol.asyncDispose]() {
      for (const each of [downloader, ...others]) await each[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
