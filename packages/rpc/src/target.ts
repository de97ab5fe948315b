import { isIPv6 } from "node:net";

/** Where a server is: an IP literal and a port, or the absolute path of a unix socket. */
export type RpcTarget =
  | { readonly ip: string; readonly port: number }
  | { readonly socketPath: string };

/** For messages: `10.0.0.1:4000`, `[::1]:4000`, `/run/damselfly.sock`. */
export function formatTarget(target: RpcTarget): string {
  if ("socketPath" in target) return target.socketPath;
  return isIPv6(target.ip) ? `[${target.ip}]:${target.port}` : `${target.ip}:${target.port}`;
}

/** As grpc-js dials it: no name is looked up. */
export function channelTarget(target: RpcTarget): string {
  if ("socketPath" in target) return `unix:${target.socketPath}`;
  return `${isIPv6(target.ip) ? "ipv6" : "ipv4"}:${formatTarget(target)}`;
}
