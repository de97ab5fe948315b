import { testTransport } from "./conformance.ts";
import { createMemoryTransport } from "./memory-transport.ts";

testTransport("memory transport", async ({ source, limits, timeouts }) => {
  const transport = createMemoryTransport();
  const server = transport.servePieces({ source, limits });
  const downloader = transport.createDownloader({ timeouts });
  return {
    downloader,
    parent: server.parent,
    server,
    killParent: async () => server.kill(),
    openDownloader: async () => transport.createDownloader({ timeouts }),
    async [Symbol.asyncDispose]() {
      await downloader[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
});
