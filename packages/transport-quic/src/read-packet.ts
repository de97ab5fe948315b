import type { QuicStream } from "@damselfly/quic";
import { type DecodedPacket, PacketDecoder, VortexError } from "@damselfly/vortex";

/** Holds the usual packet: a request has 74 bytes, an announcement about 160. */
const SCRATCH_LENGTH = 512;

/**
 * Reads one packet, and at most `SCRATCH_LENGTH` bytes beyond it, which are in `rest`.
 *
 * @throws {VortexError} if the bytes are no packet, or end inside it
 * @throws {QuicError}
 */
export async function readPacket(stream: QuicStream): Promise<DecodedPacket> {
  const decoder = new PacketDecoder();
  const scratch = new Uint8Array(SCRATCH_LENGTH);
  for (;;) {
    const length = await stream.read(scratch);
    if (length === 0) {
      throw new VortexError("ERR_TRUNCATED", "Cannot decode packet: the stream ended inside it");
    }
    const decoded = decoder.push(scratch.subarray(0, length));
    if (decoded !== undefined) return decoded;
  }
}
