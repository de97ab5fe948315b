import { isIPv6 } from "node:net";

/** Who counts as one: an IPv4 address, or the /64 network of an IPv6 address, which one host has to itself. */
export function toAddressGroup(ip: string): string {
  if (!isIPv6(ip)) return ip;
  const [plain = ""] = ip.toLowerCase().split("%");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain);
  if (mapped?.[1] !== undefined) return mapped[1];
  const [head = "", tail] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const tailGroups = tail === "" ? [] : tail.split(":");
    // A dotted end stands for two groups; it is in the second half either way.
    const tailLength = tailGroups.length + (tail.includes(".") ? 1 : 0);
    while (groups.length + tailLength < 8) groups.push("0");
    groups.push(...tailGroups);
  }
  return groups.slice(0, 4).join(":");
}
