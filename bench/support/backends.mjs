// What is compared. A backend says how to serve and to download with it, memory to memory, and how daemons are configured for it.
import { spawnSync } from "node:child_process";
import { openQuicEndpoint } from "@damselfly/quic";
import { loadQuinn, quinnOpener } from "@damselfly/quinn";
import * as auto from "./auto.mjs";
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { createQuicDownloader, serveQuic } from "@damselfly/transport-quic";
import { createTcpDownloader, serveTcp } from "@damselfly/transport-tcp";

/** What all others are compared with. */
export const BASE = "grpc-tls";

/**
 * @typedef {object} Backend
 * @property {string} name - as `--only` takes it
 * @property {string} title - for people
 * @property {"udp" | "tcp"} over - what the path's congestion control for TCP matters to
 * @property {() => Promise<string | undefined>} whyNot - why it cannot be used here
 * @property {(options: object) => Promise<object>} [serve] - a `PieceServer`; gets `source`, `identity`, `address`, and `tuning` over its own
 * @property {(options: object) => object} [download] - a `Downloader`; gets `identity`, and `tuning` over its own
 * @property {(server: object, identity: object) => object} [addressOf] - of what `serve` made, as `ParentAddress` has it
 * @property {object} [daemon] - `isSecured`, and `server`: the section `storage.server`
 */

/** @type {Backend[]} */
export const BACKENDS = [
  { name: "auto", title: "as a daemon decides itself", over: "tcp", ...auto },
  quic("quic-auto", "QUIC, as it decides itself", {}),
  quic("quiche-gso", "QUIC, quiche, GSO and GRO", { udp: "gso" }),
  quic("quiche-dgram", "QUIC, quiche, plain dgram", { udp: "dgram" }),
  quinn("quinn", "QUIC, quinn"),
  tcp("tcp-tls", "TCP, mutual TLS", true),
  tcp("tcp", "TCP, plain", false),
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

/** QUIC is always encrypted, here always with both sides checked. With nothing pinned it chooses for itself. */
function quic(name, title, pinned) {
  const backend = Object.keys(pinned).length === 0 ? {} : { backend: "quiche" };
  return {
    name,
    title,
    over: "udp",
    whyNot: () => whyNoEndpoint(pinned),
    serve: ({ identity, ...options }) =>
      serveQuic({ ...tuned(options, pinned), tls: identity.tls }),
    download: ({ identity, ...options }) =>
      createQuicDownloader({ ...tuned(options, pinned), tls: identity.tls }),
    addressOf: (server) => ({ ports: { quic: [server.address.port] } }),
    daemon: { isSecured: true, server: { protocol: "quic", quic: { ...backend, ...pinned } } },
  };
}

/** Its peers know each other by keys instead of certificates. */
function quinn(name, title) {
  return {
    name,
    title,
    over: "udp",
    whyNot: whyNoQuinn,
    serve({ identity, ...options }) {
      const { privateKey, peerKey } = identity.quinn;
      const isKnownPeer = (key) => key === peerKey;
      return serveQuic({
        ...tuned(options),
        openEndpoint: quinnOpener({ privateKey, isKnownPeer }),
      });
    },
    download({ identity, ...options }) {
      const openEndpoint = quinnOpener({ privateKey: identity.quinn.privateKey });
      return createQuicDownloader({ ...tuned(options), openEndpoint, backend: "quinn" });
    },
    addressOf: (server, identity) => ({
      ports: {},
      quinn: { port: server.address.port, key: identity.quinn.ownKey },
    }),
    daemon: { isSecured: true, server: { protocol: "quic", quic: { backend: "quinn" } } },
  };
}

function tcp(name, title, isSecured) {
  const secured = ({ identity, ...options }) => ({
    ...tuned(options),
    ...(isSecured ? { tls: identity.tls } : {}),
  });
  return {
    name,
    title,
    over: "tcp",
    whyNot: async () => undefined,
    serve: (options) => serveTcp({ ...secured(options), plain: !isSecured }),
    download: (options) => createTcpDownloader(secured(options)),
    addressOf: (server) => ({ ports: { tcp: server.address.port } }),
    daemon: { isSecured, server: { protocol: "tcp" } },
  };
}

function grpc(name, title, isSecured) {
  const secured = ({ identity, ...options }) => ({
    ...tuned(options),
    ...(isSecured ? { tls: identity.tls } : {}),
  });
  return {
    name,
    title,
    over: "tcp",
    whyNot: async () => undefined,
    serve: (options) => serveGrpc(secured(options)),
    download: (options) => createGrpcDownloader(secured(options)),
    addressOf: (server) => ({ ports: { grpc: server.address.port } }),
    daemon: { isSecured, server: { protocol: "grpc" } },
  };
}

function tuned({ tuning, ...options }, pinned = {}) {
  return { ...options, ...pinned, ...tuning };
}

async function whyNoQuinn() {
  try {
    loadQuinn();
    return undefined;
  } catch (error) {
    return error.message;
  }
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
