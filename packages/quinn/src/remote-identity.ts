import type { QuicAddress } from "@damselfly/quic";
import type { NativeConnection } from "./binding.ts";

/** Who is at the other end, and where. */
export interface RemoteIdentity {
  readonly address: QuicAddress;
  readonly peerKey: string;
}

const FORM = /^\/ip[46]\/([^/]+)\/udp\/(\d+)\/quic-v1\/p2p\/(\w+)$/;

/** @throws {Error} if the native layer writes it otherwise than its version 1.1.8 */
export function readRemote(native: NativeConnection): RemoteIdentity {
  const text = native.remoteMultiaddr();
  const [, ip, port, peerKey] = FORM.exec(text) ?? [];
  if (ip === undefined || peerKey === undefined) {
    throw new Error(`Cannot tell who connected: the native layer says ${text}`);
  }
  return { address: { ip, port: Number(port) }, peerKey };
}
