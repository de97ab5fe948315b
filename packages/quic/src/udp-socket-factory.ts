import { openDgramSocket } from "./dgram-socket.ts";
import { openGsoSocket } from "./gso-socket.ts";
import type { QuicUdp } from "./quic.ts";
import type { UdpSocket, UdpSocketFactory, UdpSocketOptions } from "./udp-socket.ts";

/** What opens the sockets of an endpoint with this `udp` option. */
export function udpSocketFactory(udp: QuicUdp | UdpSocketFactory = "auto"): UdpSocketFactory {
  if (typeof udp === "function") return udp;
  if (udp === "dgram") return openDgramSocket;
  return udp === "gso" ? openGsoSocket : openBestSocket;
}

async function openBestSocket(options: UdpSocketOptions): Promise<UdpSocket> {
  try {
    return await openGsoSocket(options);
  } catch (error) {
    // If it is the address that is wrong, the plain socket says so too.
    const socket = await openDgramSocket(options);
    options.onPlain?.(error instanceof Error ? error : new Error(String(error)));
    return socket;
  }
}
