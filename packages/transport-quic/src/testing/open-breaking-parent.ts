import { openQuicEndpoint, type QuicConnection, type QuicStream } from "@damselfly/quic";
import { DEFAULT_SERVER_LIMITS, type ParentAddress, type PieceSource } from "@damselfly/transport";
import { ALPN } from "../codes.ts";
import { PieceHandler } from "../piece-handler.ts";

export interface BreakingParent {
  readonly address: ParentAddress;
  /** Connections taken so far. */
  readonly acceptedCount: number;
  /** Closes every connection under whatever runs on it. */
  breakConnections(): void;
  /** Idempotent. */
  close(): Promise<void>;
}

/** A parent that serves pieces as any other, and whose connections can be broken. */
export async function openBreakingParent(
  source: PieceSource,
  options: {
    readonly requestCountMax?: number;
    /** Serves a stream in place of the usual. */
    readonly answer?: (stream: QuicStream, connection: QuicConnection) => Promise<void>;
  } = {},
): Promise<BreakingParent> {
  const handler = new PieceHandler({
    source,
    limits: { ...DEFAULT_SERVER_LIMITS, requestCountMax: options.requestCountMax ?? 100 },
  });
  const connections: QuicConnection[] = [];
  const endpoint = await openQuicEndpoint({
    address: { ip: "127.0.0.1", port: 0 },
    alpn: ALPN,
    tls: "insecure",
    accept(connection) {
      connections.push(connection);
      connection.onStream = (stream) => {
        if (options.answer === undefined) void handler.serve(stream, connection);
        else options.answer(stream, connection).catch(() => stream.reset(0));
      };
    },
  });
  const { ip, port } = endpoint.address;
  return {
    address: { hostId: "breaking", ip, ports: { quic: [port] } },
    get acceptedCount() {
      return connections.length;
    },
    breakConnections() {
      for (const connection of connections) connection.close(0);
    },
    close: async () => endpoint[Symbol.asyncDispose](),
  };
}
