import type { TlsIdentity } from "@damselfly/transport";
import type { Fixture, FixtureOptions } from "@damselfly/transport/conformance";
import { createGrpcDownloader, type GrpcDownloader } from "../grpc-downloader.ts";
import { serveGrpc } from "../serve-grpc.ts";

/** For the conformance suite: a server and a downloader on loopback. */
export async function openGrpcFixture(
  { source, limits, timeouts, idleTimeoutMs }: FixtureOptions,
  tls?: TlsIdentity,
): Promise<Fixture> {
  const server = await serveGrpc({ source, limits, tls, address: { ip: "127.0.0.1", port: 0 } });
  const { ip, port } = server.address;
  const downloader = createGrpcDownloader({ timeouts, idleTimeoutMs, tls });
  const others: GrpcDownloader[] = [];
  return {
    downloader,
    parent: { hostId: "127.0.0.1-parent", ip, ports: { grpc: port } },
    server,
    killParent: () => server.abort(),
    openConnections: () => downloader.connectionCount,
    openDownloader: async () => {
      const other = createGrpcDownloader({ timeouts, tls });
      others.push(other);
      return other;
    },
    async [Symbol.asyncDispose]() {
      for (const each of [downloader, ...others]) await each[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
