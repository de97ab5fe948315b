import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Run by `npm run test:interop`, apart from all others: it needs programs that few have installed.
export default defineConfig({
  root: fileURLToPath(new URL("../../", import.meta.url)),
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    include: ["test/interop/**/*.test.ts"],
    globalSetup: ["test/interop/support/announce.ts"],
    // Every file starts a cluster of its own; two of them are as much as two cores bear.
    maxWorkers: 2,
  },
});
