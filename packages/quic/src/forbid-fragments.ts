import { isIPv6 } from "node:net";
import type { Libc } from "./load-libc.ts";

/** Level and name of `IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER` on Linux. */
const MTU_DISCOVER_V4 = [0, 10] as const;
const MTU_DISCOVER_V6 = [41, 23] as const;
/**
 * Fragments are forbidden to the kernel and to routers, and what routers say of the path's MTU, which anybody could
 * say, counts for nothing: only what is too long for the interface is an error (ip(7)).
 */
const PMTUDISC_PROBE = 3;

/** Has every datagram of a socket travel in one piece or not at all. False where the kernel does not do that. */
export function forbidFragments(libc: Libc, fd: number, ip: string): boolean {
  const value = Uint8Array.of(PMTUDISC_PROBE, 0, 0, 0);
  const set = ([level, name]: readonly [number, number]): boolean =>
    libc.setsockopt(fd, level, name, value, value.byteLength) === 0;
  const isSet = set(MTU_DISCOVER_V4); // an IPv6 socket can carry IPv4 as well
  return isIPv6(ip) ? set(MTU_DISCOVER_V6) : isSet;
}
