import { openGsoSocket } from "../gso-socket.ts";
import type { QuicUdp } from "../quic.ts";

/** The ways of UDP that can be had on this machine; suites run once over each. */
export const UDP_KINDS: readonly QuicUdp[] = (await hasGso()) ? ["dgram", "gso"] : ["dgram"];

async function hasGso(): Promise<boolean> {
  try {
    const socket = await openGsoSocket({
      address: { ip: "127.0.0.1", port: 0 },
      bufferLength: 65_536,
      onMessage: () => undefined,
      onError: () => undefined,
      onSmallBuffer: () => undefined,
    });
    await socket.close();
    return true;
  } catch {
    return false;
  }
}
