import { readFileSync } from "node:fs";
import { BlockList, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";

/** What the first hop to an address is like. */
export interface FirstHop {
  /** The address is this machine's own. */
  readonly isOwnMachine: boolean;
  /** Largest IP packet of the interface that the address is next to; undefined: it is farther away, or nobody says. */
  readonly mtu: number | undefined;
}

/** Only Linux tells the MTU, in a file. Looks at the interfaces as they are at this moment. */
export function firstHopTo(ip: string): FirstHop {
  const family = isIPv6(ip) ? "ipv6" : "ipv4";
  if (ip === "::1" || ip.startsWith("127.")) return { isOwnMachine: true, mtu: undefined };
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { address, cidr } of addresses ?? []) {
      if (address === ip) return { isOwnMachine: true, mtu: undefined };
      const [network, length] = cidr?.split("/") ?? [];
      if (network === undefined || isIPv6(network) !== isIPv6(ip)) continue;
      const subnet = new BlockList();
      subnet.addSubnet(network, Number(length), family);
      if (subnet.check(ip, family)) return { isOwnMachine: false, mtu: readMtu(name) };
    }
  }
  return { isOwnMachine: false, mtu: undefined };
}

function readMtu(name: string): number | undefined {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/mtu`, "utf8"));
  } catch {
    return undefined; // another system, or an alias
  }
}
