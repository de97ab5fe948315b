import type {
  QuicConnection,
  QuicDialOptions,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicUdp,
} from "../quic.ts";
import { openQuicEndpoint } from "../quiche-endpoint.ts";

export const LOOPBACK = { ip: "127.0.0.1", port: 0 } as const;

export interface Pair {
  readonly server: QuicEndpoint;
  readonly client: QuicEndpoint;
  /** Both ends of one connection. */
  readonly dialled: QuicConnection;
  readonly accepted: QuicConnection;
}

/** Two endpoints on loopback, one connection between them; closed when `test` is over. */
export async function withPair(
  options: {
    readonly both?: Partial<QuicEndpointOptions>;
    readonly server?: Partial<QuicEndpointOptions>;
    readonly client?: Partial<QuicEndpointOptions>;
    readonly dial?: QuicDialOptions;
  },
  test: (pair: Pair) => Promise<void>,
): Promise<void> {
  const accepting = createQueue<QuicConnection>();
  const common = { address: LOOPBACK, alpn: "test", tls: "insecure" as const, ...options.both };
  const server = await openQuicEndpoint({ ...common, ...options.server, accept: accepting.push });
  const client = await openQuicEndpoint({ ...common, ...options.client });
  try {
    const dialled = await client.dial(server.address, options.dial);
    await test({ server, client, dialled, accepted: await accepting.shift() });
  } finally {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  }
}

/** The same, over one way of UDP unless told otherwise. */
export function pairOver(udp: QuicUdp): typeof withPair {
  return (options, test) => withPair({ ...options, both: { udp, ...options.both } }, test);
}

/** Hands what is pushed to whoever waits for it, in order. */
export function createQueue<T>(): {
  readonly push: (item: T) => void;
  readonly shift: () => Promise<T>;
} {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    push(item) {
      const next = waiting.shift();
      if (next === undefined) items.push(item);
      else next(item);
    },
    shift() {
      const item = items.shift();
      if (item !== undefined) return Promise.resolve(item);
      return new Promise((resolve) => {
        waiting.push(resolve);
      });
    },
  };
}
