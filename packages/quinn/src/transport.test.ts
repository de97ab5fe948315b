import { testTransport } from "@damselfly/transport/conformance";
import { createQuicDownloader, type QuicDownloader, serveQuic } from "@damselfly/transport-quic";
import { describe } from "vitest";
import { createIdentity } from "./identity.ts";
import { quinnOpener } from "./quinn-opener.ts";
import { UNAVAILABLE } from "./testing/quinn-pair.ts";

const parentKey = createIdentity();
const childKey = createIdentity();
const openParent = quinnOpener({
  privateKey: parentKey.privateKey,
  isKnownPeer: (key) => key === childKey.peerKey,
});
const openChild = quinnOpener({ privateKey: childKey.privateKey });

describe.skipIf(UNAVAILABLE)("quinn", () => {
  testTransport(
    "transport-quic over quinn",
    async ({ source, limits, timeouts, idleTimeoutMs }) => {
      const address = { ip: "127.0.0.1", port: 0 };
      const server = await serveQuic({ source, limits, address, openEndpoint: openParent });
      const { ip, port } = server.address;
      const open = (pool: { idleTimeoutMs?: number | undefined }): QuicDownloader =>
        createQuicDownloader({ timeouts, pool, openEndpoint: openChild, backend: "quinn" });
      const downloader = open({ idleTimeoutMs });
      const others: QuicDownloader[] = [];
      return {
        downloader,
        parent: {
          hostId: "parent",
          ip,
          ports: { quic: [port] },
          quinn: { port, key: parentKey.peerKey },
        },
        server,
        killParent: () => server.abort(),
        openConnections: () => downloader.connectionCount,
        openDownloader: async () => {
          const other = open({});
          others.push(other);
          return other;
        },
        async [Symbol.asyncDispose]() {
          for (const each of [downloader, ...others]) await each[Symbol.asyncDispose]();
          await server[Symbol.asyncDispose]();
        },
      };
    },
  );
});
