import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { resolveOptions } from "./endpoint-options.ts";
import { loadQuiche } from "./load-quiche.ts";
import { createCredentials, createNativeConfig } from "./native-config.ts";

it("leaves the binding room for all that a server has to say after a Retry", async () => {
  const quiche = await loadQuiche();
  const gib = 1024 ** 3;
  const options = resolveOptions({
    address: { ip: "127.0.0.1", port: 0 },
    alpn: "test",
    tls: "insecure",
    accept: () => undefined,
    idleTimeoutMs: 86_400_000,
    limits: { streamWindow: gib, peerStreamWindow: gib },
  });
  const config = createNativeConfig(quiche, createCredentials(options, "insecure"), options, {
    isDialler: false,
    packetLength: 1350,
    congestionControl: "cubic",
  });
  config.setStatelessResetToken(2n ** 127n);
  const somebody = { host: "127.0.0.1", port: 1 };
  const longest = randomBytes(20);
  const native = quiche.Connection.accept(randomBytes(16), longest, somebody, somebody, config);
  expect(native.isClosed()).toBe(false);
});
