import { BlockList, isIPv6 } from "node:net";
import { PACKET_LENGTH_MAX, PACKET_LENGTH_MIN } from "./endpoint-options.ts";
import type { LocalInterface } from "./local-interfaces.ts";

/** How long packets to a peer are to be; all lengths are those of UDP payloads, in bytes. */
export interface LengthPlan {
  /** From the end of the handshake on, before anything is known of the path. */
  readonly start: number;
  /** Longer ones to go on to, shortest first, each once the path has been seen to take it. */
  readonly steps: readonly number[];
  /** The longest of all. The binding's first congestion window is ten times this. */
  readonly max: number;
  /** Whether the peer is on this machine: silence says nothing of the path then. */
  readonly isLocal: boolean;
}

/** Passes through nearly every tunnel. */
const COMMON = 1350;
/** What a path of MTU 1500 takes over IPv6, and no other path of the Internet takes more of. */
const INTERNET = 1452;
/** Of IP and UDP. */
const HEADERS_V4 = 28;
const HEADERS_V6 = 48;
const ETHERNET_MTU = 1500;
/** The common longest MTU of networks that allow for more; beyond it only an interface's own subnet is trusted. */
const JUMBO_MTU = 9000;

/** Addresses that no router of the Internet leads to: paths to them may take more than 1500 bytes. */
const PRIVATE = new BlockList();
for (const [network, prefixLength, family] of [
  ["10.0.0.0", 8, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["fc00::", 7, "ipv6"],
  ["fe80::", 10, "ipv6"],
] as const) {
  PRIVATE.addSubnet(network, prefixLength, family);
}

export interface PathFacts {
  readonly wanted: number | "auto";
  /** What the socket is bound to. */
  readonly localIp: string;
  /** Whether packets that are too long are lost rather than fragmented; without it none is tried. */
  readonly isFragmentFree: boolean;
  readonly interfaces: readonly LocalInterface[];
}

/** @param peerIp an IP literal; its zone names the interface */
export function planLengths(peerIp: string, facts: PathFacts): LengthPlan {
  const { wanted, interfaces, isFragmentFree } = facts;
  const { ip, zone } = normalize(peerIp);
  const isLocal = isLoopback(ip) || interfaces.some((candidate) => candidate.ip === ip);
  if (wanted !== "auto") return { start: wanted, steps: [], max: wanted, isLocal };
  if (isLocal) return { start: PACKET_LENGTH_MAX, steps: [], max: PACKET_LENGTH_MAX, isLocal };
  if (!isFragmentFree) return { start: COMMON, steps: [], max: COMMON, isLocal };

  const headers = isIPv6(ip) ? HEADERS_V6 : HEADERS_V4;
  const toLength = (mtu: number): number =>
    Math.min(PACKET_LENGTH_MAX, Math.max(PACKET_LENGTH_MIN, mtu - headers));
  const neighbours = interfaces.filter((candidate) =>
    zone === undefined ? candidate.contains(ip) : candidate.name === zone,
  );
  const neighbourMtu = neighbours[0]?.mtu;
  if (neighbourMtu !== undefined) {
    // Frames above Ethernet's length get lost where one machine or switch was forgotten.
    const max = toLength(neighbourMtu);
    const start = Math.min(max, toLength(ETHERNET_MTU));
    return { start, steps: start < max ? [max] : [], max, isLocal };
  }

  const outerMtu = Math.min(JUMBO_MTU, outerMtuOf(facts));
  const isPrivate = PRIVATE.check(ip, isIPv6(ip) ? "ipv6" : "ipv4");
  const max = Math.min(toLength(outerMtu), isPrivate ? PACKET_LENGTH_MAX : INTERNET);
  const start = Math.min(COMMON, max);
  const steps = max > ETHERNET_MTU ? [INTERNET, max] : [Math.min(INTERNET, max)];
  return { start, steps: steps.filter((step) => step > start), max, isLocal };
}

/** Of the interface that packets leave by, or of the largest one where any may be it. */
function outerMtuOf({ localIp, interfaces }: PathFacts): number {
  const own = interfaces.filter((candidate) => candidate.ip === localIp);
  const possible = own.length > 0 ? own : interfaces.filter((candidate) => !candidate.isInternal);
  const mtus = possible.flatMap(({ mtu }) => (mtu === undefined ? [] : [mtu]));
  return mtus.length === 0 ? ETHERNET_MTU : Math.max(...mtus);
}

function isLoopback(ip: string): boolean {
  return ip === "::1" || (!isIPv6(ip) && ip.startsWith("127."));
}

/** IPv4 as a socket of both families shows it is IPv4. */
function normalize(ip: string): { readonly ip: string; readonly zone: string | undefined } {
  const [literal = ip, zone] = ip.split("%");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(literal);
  return { ip: mapped?.[1] ?? literal, zone };
}
