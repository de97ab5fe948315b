import type { ParentAddress, Protocol } from "@damselfly/transport";

/** Over which protocols a parent may be asked. One without a certificate is a Dragonfly daemon: TCP is the common tongue. */
export function protocolsOf({ ports, quinn, plain }: ParentAddress): Protocol[] {
  const offered: Protocol[] = ports.tcp === undefined ? [] : ["tcp"];
  if (plain === true) return offered;
  if ((ports.quic?.length ?? 0) > 0 || quinn !== undefined) offered.push("quic");
  if (ports.grpc !== undefined) offered.push("grpc");
  return offered;
}
