import { readFileSync } from "node:fs";
import { BlockList, isIPv6 } from "node:net";
import { networkInterfaces, platform } from "node:os";

/** One address of this machine. */
export interface LocalInterface {
  readonly name: string;
  readonly ip: string;
  /** Whether the interface leads nowhere but here. */
  readonly isInternal: boolean;
  /** The longest IP packet, in bytes; undefined where the system does not say, as anywhere but on Linux. */
  readonly mtu: number | undefined;
  /** Whether `ip`, a literal without a zone, is in this address's subnet. */
  contains(ip: string): boolean;
}

/** Networks change seldom, and reading them takes a tenth of a millisecond. */
const FRESH_MS = 5_000;

let known: readonly LocalInterface[] = [];
let knownUntil = Number.NEGATIVE_INFINITY;

/**
 * Every address of this machine, as of a few seconds ago at most. Where the system does not say, as to a process that
 * is out of descriptors (the question takes one): what it said last, or none, which is to be careful about every path.
 */
export function localInterfaces(now: number = performance.now()): readonly LocalInterface[] {
  if (now < knownUntil) return known;
  knownUntil = now + FRESH_MS;
  try {
    known = readInterfaces();
  } catch {
    // Whoever needs a descriptor more says so; asked again in a while.
  }
  return known;
}

function readInterfaces(): LocalInterface[] {
  const found: LocalInterface[] = [];
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const mtu = readMtu(name);
    for (const { address, cidr, internal } of addresses ?? []) {
      const family = isIPv6(address) ? "ipv6" : "ipv4";
      const subnet = new BlockList();
      const prefixLength = Number(cidr?.split("/")[1] ?? (family === "ipv6" ? 128 : 32));
      subnet.addSubnet(address, prefixLength, family);
      found.push({
        name,
        ip: address,
        isInternal: internal,
        mtu,
        contains: (ip) => isIPv6(ip) === (family === "ipv6") && subnet.check(ip, family),
      });
    }
  }
  return found;
}

function readMtu(name: string): number | undefined {
  if (platform() !== "linux") return undefined;
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${name}/mtu`, "utf8"));
    return Number.isSafeInteger(mtu) && mtu > 0 ? mtu : undefined;
  } catch {
    return undefined; // gone since it was listed, or /sys is not there
  }
}
