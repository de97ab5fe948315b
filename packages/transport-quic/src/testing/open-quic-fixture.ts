import type { QuicUdp } from "@damselfly/quic";
import type { TlsIdentity } from "@damselfly/transport";
import type { Fixture, FixtureOptions } from "@damselfly/transport/conformance";
import { createQuicDownloader, type QuicDownloader } from "../quic-downloader.ts";
import { type QuicPieceServer, serveQuic } from "../serve-quic.ts";

export interface QuicFixture extends Fixture {
  readonly downloader: QuicDownloader;
  readonly server: QuicPieceServer;
}

/** For the conformance suite: a server and a downloader on loopback. */
export async function openQuicFixture(
  { source, limits, timeouts, idleTimeoutMs }: FixtureOptions,
  tls?: TlsIdentity,
  udp?: QuicUdp,
): Promise<QuicFixture> {
  const address = { ip: "127.0.0.1", port: 0 };
  const server = await serveQuic({ source, limits, tls, udp, address });
  const { ip, port } = server.address;
  const downloader = createQuicDownloader({ timeouts, tls, udp, pool: { idleTimeoutMs } });
  const others: QuicDownloader[] = [];
  return {
    downloader,
    parent: { hostId: "127.0.0.1-parent", ip, ports: { quic: [port] } },
    server,
    killParent: () => server.abort(),
    openConnections: () => downloader.connectionCount,
    openDownloader: async () => {
      const other = createQuicDownloader({ timeouts, tls, udp });
      others.push(other);
      return other;
    },
    async [Symbol.asyncDispose]() {
      for (const each of [downloader, ...others]) await each[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
