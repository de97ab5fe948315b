import { isIP } from "node:net";

/** Whether only this machine reaches an address: RFC 1122, section 3.2.1.3, and RFC 4291, section 2.5.3. */
export function isLoopback(ip: string): boolean {
  return ip === "::1" || (isIP(ip) === 4 && ip.startsWith("127."));
}
