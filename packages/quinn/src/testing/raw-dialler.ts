import { type QuicAddress, resolveOptions } from "@damselfly/quic";
import type { NativeConnection } from "../binding.ts";
import { createIdentity } from "../identity.ts";
import { loadQuinn } from "../load-quinn.ts";
import { createNativeConfig } from "../native-config.ts";
import { LOOPBACK } from "./quinn-pair.ts";

export interface RawDialler extends Disposable {
  dial(target: QuicAddress): Promise<NativeConnection>;
}

/** A peer that speaks QUIC and nothing of ours but what the test has it say. */
export function openRawDialler(): RawDialler {
  const quinn = loadQuinn();
  const options = resolveOptions({ address: LOOPBACK, alpn: "test", tls: "insecure" });
  const identity = createIdentity();
  const config = createNativeConfig(quinn, {
    options,
    identity,
    role: "dial",
    connectionWindow: undefined,
  });
  const client = new quinn.Client(config, 0);
  return {
    dial: ({ ip, port }) => client.outboundConnection(ip, port),
    [Symbol.dispose]: () => client.abort(),
  };
}
