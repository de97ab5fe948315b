import { isIP } from "node:net";
import type { PeerExtension__Output, SyncPiecesResponse__Output } from "@damselfly/rpc";
import type { CertificateChain, ParentAddress } from "@damselfly/transport";
import { readPeerKey } from "../data-plane/known-peers.ts";
import { DaemonError } from "../errors.ts";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";

/** Which parents are taken. */
export interface ParentPolicy {
  /** We show certificates to our own kind. */
  readonly tls: boolean;
  /** Pieces may come without TLS. Always so where `tls` is not. */
  readonly plainPeers: boolean;
}

export interface AddressOptions {
  readonly policy: ParentPolicy;
  /** Both ends of the control channel have shown certificates. */
  readonly isSecure: boolean;
  /** What the parent has shown there; a key that it tells is worth as much. */
  readonly certificates?: CertificateChain | undefined;
  /** Of our copy; empty: not known yet. */
  readonly contentVersion: string;
  /** Where it is from; empty: that does not matter. */
  readonly sourceDigest: string;
  /** The parent's quinn port may be used. */
  readonly quinn: boolean;
}

/**
 * Where a parent's pieces are, from its first answer.
 *
 * Dragonfly's daemons have no extension, and only TCP is dialled there: what they speak over QUIC is not what we do. They say nothing of
 * the version of their copy, either.
 *
 * @throws {DaemonError} `ERR_PARENT` when we may not take its pieces, or cannot
 */
export function addressOf(
  parent: CandidateParent,
  response: SyncPiecesResponse__Output,
  options: AddressOptions,
): ParentAddress {
  const { extension } = response;
  const { hostId, hostname } = parent;
  const ip = response.ip === "" ? parent.ip : response.ip;
  if (isIP(ip) === 0) throw refusal(parent, `its address is '${ip}', expected an IP`);
  const { policy, isSecure } = options;
  if (extension === null) {
    if (!policy.plainPeers) {
      throw refusal(
        parent,
        "it is one of Dragonfly's, whose pieces come without TLS, and security.plainPeers is false",
      );
    }
    // As Dragonfly's children do: its gRPC port where it names no other.
    const tcp = response.tcpPort ?? parent.port;
    if (!isPort(tcp)) throw refusal(parent, `its TCP port is ${tcp}`);
    return { hostId, ip, hostname, ports: { tcp }, plain: true };
  }
  if (extension.contentVersion !== options.contentVersion)
    throw refusal(parent, "it has another version of the file");
  // Older daemons do not say.
  const isKnown = options.sourceDigest !== "" && extension.sourceDigest !== "";
  if (isKnown && extension.sourceDigest !== options.sourceDigest)
    throw refusal(parent, "its copy was read from another URL under the same task id");
  const ports = portsOf(extension);
  if (policy.tls && !isSecure) {
    if (ports.tcp === undefined)
      throw refusal(parent, "it shows no certificate and serves no pieces over TCP");
    return { hostId, ip, hostname, ports: { tcp: ports.tcp }, plain: true };
  }
  const quinn = options.quinn ? quinnOf(extension, options.certificates) : undefined;
  return { hostId, ip, hostname, ports, ...(quinn === undefined ? {} : { quinn }) };
}

function refusal(parent: CandidateParent, why: string): DaemonError {
  return new DaemonError("ERR_PARENT", `Cannot use parent ${parent.hostId}: ${why}`);
}

function quinnOf(
  { transports, quinnKey }: PeerExtension__Output,
  certificates: CertificateChain | undefined,
): ParentAddress["quinn"] {
  const ports = transports.find(({ protocol }) => protocol === "quinn")?.ports.filter(isPort) ?? [];
  // Of several processes one is as good as another: children spread over them by chance.
  const port = ports[Math.floor(Math.random() * ports.length)];
  const key = readPeerKey(quinnKey);
  if (key === undefined || port === undefined) return undefined;
  return { port, key, ...(certificates === undefined ? {} : { certificates }) };
}

function portsOf(extension: PeerExtension__Output): ParentAddress["ports"] {
  const ports = (protocol: string): number[] =>
    extension.transports
      .filter((offer) => offer.protocol === protocol)
      .flatMap((offer) => offer.ports)
      .filter(isPort);
  const [quic, [grpc], [tcp]] = [ports("quic"), ports("grpc"), ports("tcp")];
  return {
    ...(quic.length === 0 ? {} : { quic }),
    ...(grpc === undefined ? {} : { grpc }),
    ...(tcp === undefined ? {} : { tcp }),
  };
}

function isPort(port: number): boolean {
  return port > 0 && port < 65_536;
}
