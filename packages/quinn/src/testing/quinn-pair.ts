import type { QuicConnection } from "@damselfly/quic";
import { createQueue } from "@damselfly/quic/testing";
import { loadQuinn } from "../load-quinn.ts";
import type { QuinnEndpoint, QuinnEndpointOptions } from "../quinn.ts";
import { openQuinnEndpoint } from "../quinn-endpoint.ts";

export const LOOPBACK = { ip: "127.0.0.1", port: 0 } as const;

/** Why the tests that need the binary are skipped; undefined where it loads. */
export const UNAVAILABLE: string | undefined = whyUnavailable();

function whyUnavailable(): string | undefined {
  try {
    loadQuinn();
    return undefined;
  } catch (error) {
    const text = `skipped: ${String(error)}`;
    console.warn(text);
    return text;
  }
}

export interface QuinnPair {
  readonly server: QuinnEndpoint;
  readonly client: QuinnEndpoint;
  /** Both ends of one connection. */
  readonly dialled: QuicConnection;
  readonly accepted: QuicConnection;
}

/** Two endpoints on loopback that know each other, one connection between them; closed when `test` is over. */
export async function withPair(
  options: {
    readonly both?: Partial<QuinnEndpointOptions>;
    readonly server?: Partial<QuinnEndpointOptions>;
    readonly client?: Partial<QuinnEndpointOptions>;
  },
  test: (pair: QuinnPair) => Promise<void>,
): Promise<void> {
  const accepting = createQueue<QuicConnection>();
  const common = { address: LOOPBACK, alpn: "test", ...options.both };
  const client = await openQuinnEndpoint({ ...common, ...options.client });
  const server = await openQuinnEndpoint({
    isKnownPeer: (key) => key === client.peerKey,
    ...common,
    ...options.server,
    accept: accepting.push,
  });
  try {
    const dialled = await client.dial(server.address, { peerKey: server.peerKey });
    await test({ server, client, dialled, accepted: await accepting.shift() });
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
}
