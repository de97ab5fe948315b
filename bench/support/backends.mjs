// What is compared. A backend says how to serve and to download with it, memory to memory, and how daemons are configured for it.
import { spawnSync } from "node:child_process";
import { openQuicEndpoint } from "@damselfly/quic";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";

/** What all others are compared with. */
export const BASE = "grpc-tls";

/**
 * @typedef {object} Backend
 * @property {string} name - as `--only` takes it
 * @property {string} title - for people
 * @property {"udp" | "tcp"} over - what the path's congestion control for TCP matters to
 * @property {() => Promise<string | undefined>} whyNot - why it cannot be used here
 * @property {(options: object) => Promise<object>} [serve] - a `PieceServer`; gets `source`, `tls`, `address`, and `tuning` over its own
 * @property {(options: object) => object} [download] - a `Downloader`; gets `tls`, and `tuning` over its own
 * @property {(server: object) => Promise<object>} [portsOf] - of a served one, for `ParentAddress.ports`
 * @property {object} [daemon] - `isSecured`, and `server`: the section `storage.server`
 */

/** @type {Backend[]} */
export const BACKENDS = [
  quic("quic-auto", "QUIC, as it decides itself", {}),
  quic("quiche-gso", "QUIC, quiche, GSO and GRO", { udp: "gso" }),
  quic("quiche-dgram", "QUIC, quiche, plain dgram", { udp: "dgram" }),
  grpc("grpc-tls", "gRPC, mutual TLS", true),
  grpc("grpc", "gRPC, plain", false),
  { name: "curl", title: "curl, plain HTTP", over: "tcp", whyNot: whyNoCurl },
];

/** @throws {RangeError} if there is none of this name */
export function findBackend(name) {
  const backend = BACKENDS.find((candidate) => candidate.name === name);
  if (backend === undefined) {
    const names = BACKENDS.map((candidate) => candidate.name).join(", ");
    throw new RangeError(`Cannot find backend ${name}: expected ${names}`);
  }
  return backend;
}

/** QUIC is always encrypted, here always with both sides checked. */
function quic(name, title, tuning) {
  return {
    name,
    title,
    over: "udp",
    whyNot: () => whyNoEndpoint(tuning),
    serve: (options) => serveQuic({ ...options, ...tuning, ...options.tuning }),
    download: (options) => createQuicDownloader({ ...options, ...tuning, ...options.tuning }),
    portsOf: async (server) => ({ quic: [server.address.port] }),
    daemon: { isSecured: true, server: { protocol: "quic", quic: { ...tuning } } },
  };
}

function grpc(name, title, isSecured) {
  const only = (options) => (isSecured ? options : { ...options, tls: undefined });
  return {
    name,
    title,
    over: "tcp",
    whyNot: async () => undefined,
    serve: (options) => serveGrpc(only(options)),
    download: (options) => createGrpcDownloader(only(options)),
    portsOf: async (server) => ({ grpc: server.address.port }),
    daemon: { isSecured, server: { protocol: "grpc" } },
  };
}

async function whyNoEndpoint(tuning) {
  try {
    const address = { ip: "127.0.0.1", port: 0 };
    const options = { ...tuning, address, alpn: "probe", tls: "insecure" };
    await (await openQuicEndpoint(options))[Symbol.asyncDispose]();
    return undefined;
  } catch (error) {
    return error.message;
  }
}

async function whyNoCurl() {
  return spawnSync("curl", ["--version"]).status === 0 ? undefined : "curl is not installed";
}
