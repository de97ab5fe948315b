// All protocols at once, and the choice between them that a daemon makes.
import { TransportChooser } from "@damselfly/dfdaemon";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";
import { createTcpDownloader, serveTcp } from "@damselfly/transport-tcp";

export const daemon = { isSecured: true, server: { protocol: "auto" } };

export async function whyNot() {
  return undefined;
}

/** A server of each protocol, on ports of their own; `address` is TCP's. */
export async function serve({ source, identity, address }) {
  const { tls } = identity;
  const elsewhere = { ...address, port: 0 };
  const servers = [
    await serveTcp({ source, tls, address, plain: false }),
    await serveQuic({ source, tls, address: elsewhere }),
    await serveGrpc({ source, tls, address: elsewhere }),
  ];
  return {
    address: servers[0].address,
    servers,
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

export function addressOf({ servers }) {
  const ports = servers.map(({ protocol, address: { port } }) => [
    protocol,
    protocol === "quic" ? [port] : port,
  ]);
  return { ports: Object.fromEntries(ports) };
}

/** What a daemon has, without quinn. */
export function download({ identity, pool }) {
  const { tls } = identity;
  const quic = createQuicDownloader({ tls, pool });
  const downloaders = [
    createTcpDownloader({ tls, pool }),
    quic,
    createGrpcDownloader({ tls, idleTimeoutMs: pool?.idleTimeoutMs }),
  ];
  const chooser = new TransportChooser({
    downloaders,
    mode: "auto",
    rttTo: (ip) =>
      quic
        .stats()
        .connections.filter((each) => each.ip === ip && each.handshakeMs > 0)
        .map(({ rttMs }) => rttMs)
        .toSorted((one, other) => one - other)[0],
    logger: LOGGER,
  });
  const never = new AbortController().signal;
  return {
    get connectionCount() {
      return downloaders.reduce((sum, { connectionCount }) => sum + connectionCount, 0);
    },
    downloadPiece: (parent, request, { signal = never } = {}) =>
      chooser.downloadPiece(parent, request, { signal }),
    [Symbol.asyncDispose]: () => chooser[Symbol.asyncDispose](),
  };
}

/** What a person wants to see who asks for it with BENCH_LOG=1. */
const say = (_, message) => process.env.BENCH_LOG && console.error(message);
const LOGGER = { debug: say, info: say, warn: say, error: say };
