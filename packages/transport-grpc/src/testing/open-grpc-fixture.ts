import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { ServerAddress, TlsIdentity } from "@damselfly/transport";
import type { Fixture, FixtureOptions } from "@damselfly/transport/conformance";
import { createGrpcDownloader, type GrpcDownloader } from "../grpc-downloader.ts";
import { serveGrpc } from "../serve-grpc.ts";

/**
 * For the conformance suite: a server and a downloader on loopback.
 *
 * @param how.isHandedOver somebody else listens
 */
export async function openGrpcFixture(
  { source, limits, timeouts, idleTimeoutMs }: FixtureOptions,
  how: { readonly tls?: TlsIdentity; readonly isHandedOver?: boolean } = {},
): Promise<Fixture> {
  const { tls, isHandedOver = false } = how;
  const front = isHandedOver ? await openFront((socket) => server.take(socket)) : undefined;
  const address = front?.address ?? { ip: "127.0.0.1", port: 0 };
  const server = await serveGrpc({ source, limits, tls, address, isHandedOver });
  const { ip, port } = server.address;
  const downloader = createGrpcDownloader({ timeouts, idleTimeoutMs, tls });
  const others: GrpcDownloader[] = [];
  return {
    downloader,
    parent: { hostId: "127.0.0.1-parent", ip, ports: { grpc: port } },
    server,
    async killParent() {
      front?.listener.close();
      await server.abort();
    },
    openConnections: () => downloader.connectionCount,
    openDownloader: async () => {
      const other = createGrpcDownloader({ timeouts, tls });
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
