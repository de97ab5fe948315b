import type { Socket } from "node:net";
import { isServedTag } from "./request-reader.ts";

export interface Recognised {
  /** `vortex` is plain. */
  readonly protocol: "tls" | "vortex";
  /** What has been read of the connection, which is paused. */
  readonly early: Buffer;
}

/** A TLS record with a handshake message, and the first byte of its version (RFC 8446, section 5.1). */
const TLS_HANDSHAKE = 0x16;
const TLS_VERSION_MAJOR = 0x03;

/**
 * Looks at the first two bytes of a connection. A Vortex request begins with any byte, but its second is a tag of which
 * none is TLS's 3.
 *
 * @returns undefined if it is neither, or is closed, or has not said so after `ms`
 */
export async function recogniseProtocol(
  socket: Socket,
  ms: number,
): Promise<Recognised | undefined> {
  return await new Promise((resolve) => {
    let early = Buffer.alloc(0);
    const settle = (recognised: Recognised | undefined): void => {
      clearTimeout(timer);
      socket.pause();
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      resolve(recognised);
    };
    const onData = (chunk: Buffer): void => {
      early = Buffer.concat([early, chunk]);
      if (early.byteLength < 2) return;
      const protocol = protocolOf(early);
      settle(protocol === undefined ? undefined : { protocol, early });
    };
    const onEnd = (): void => settle(undefined);
    const timer = setTimeout(onEnd, ms);
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
  });
}

function protocolOf(bytes: Buffer): Recognised["protocol"] | undefined {
  const [first, second] = bytes;
  if (first === TLS_HANDSHAKE && second === TLS_VERSION_MAJOR) return "tls";
  return isServedTag(second) ? "vortex" : undefined;
}
