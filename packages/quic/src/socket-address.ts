import { isIPv6 } from "node:net";
import { endianness } from "node:os";
import type { Libc } from "./load-libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const LENGTH_V4 = 16;
const LENGTH_V6 = 28;

/**
 * An address as Linux system calls take it (`sockaddr_in`, `sockaddr_in6`); undefined for one that has no such
 * form as it stands, as an IPv6 address with a zone.
 */
export function toSocketAddress(libc: Libc, ip: string, port: number): Uint8Array | undefined {
  const isV6 = isIPv6(ip);
  const bytes = new Uint8Array(isV6 ? LENGTH_V6 : LENGTH_V4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, isV6 ? AF_INET6 : AF_INET, endianness() === "LE");
  view.setUint16(2, port);
  const literal = new Uint8Array(16);
  if (libc.inetPton(isV6 ? AF_INET6 : AF_INET, ip, literal) !== 1) return undefined;
  bytes.set(isV6 ? literal : literal.subarray(0, 4), isV6 ? 8 : 4);
  return bytes;
}

/** The same address as `/proc/net/udp` and `/proc/net/udp6` spell it: 32-bit words in the machine's order. */
export function toProcAddress(socketAddress: Uint8Array): string {
  const isV6 = socketAddress.byteLength === LENGTH_V6;
  const literal = socketAddress.subarray(isV6 ? 8 : 4, isV6 ? 24 : 8);
  let text = "";
  for (let offset = 0; offset < literal.byteLength; offset += 4) {
    text += toHex(literal.slice(offset, offset + 4).toReversed());
  }
  return `${text}:${toHex(socketAddress.subarray(2, 4))}`;
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex").toUpperCase();
}
