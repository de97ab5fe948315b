import { createHmac, createPrivateKey, hkdfSync, randomBytes, randomInt } from "node:crypto";
import type { QuicTls } from "./quic.ts";

const TOKEN_LENGTH = 16;

/** Shorter ones are recognised by nobody (RFC 9000, section 10.3). */
const RESET_LENGTH_MIN = 21;
/** Up to here a reset is just shorter than what it answers, so that two sides resetting each other come to an end. */
const SHORT_QUESTION_LENGTH = 43;
const RESET_LENGTH_MAX = 64;

/**
 * Stateless resets (RFC 9000, section 10.3): an endpoint that gets a packet for a connection it knows nothing of, as
 * after a restart, can end it at the peer by sending the token that it told the peer with the connection's id. The
 * token follows from the id, so nothing has to be remembered but the key.
 */
export class ResetTokens {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = Uint8Array.from(key);
  }

  of(id: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(id).digest().subarray(0, TOKEN_LENGTH);
  }

  /** As the binding takes it. */
  numberOf(id: Uint8Array): bigint {
    return BigInt(`0x${this.of(id).toString("hex")}`);
  }

  /**
   * What to answer a short packet of `length` bytes for the unknown connection `id` with; undefined for one that is so
   * short that it may be a reset itself.
   */
  packetFor(id: Uint8Array, length: number): Buffer | undefined {
    if (length <= RESET_LENGTH_MIN) return undefined;
    const resetLength =
      length <= SHORT_QUESTION_LENGTH
        ? length - 1
        : randomInt(SHORT_QUESTION_LENGTH - 1, Math.min(length, RESET_LENGTH_MAX + 1));
    const packet = randomBytes(resetLength);
    packet[0] = 0x40 | ((packet[0] ?? 0) & 0x3f); // a short header, as anybody on the path would expect
    this.of(id).copy(packet, resetLength - TOKEN_LENGTH);
    return packet;
  }
}

/** The same after every restart under the same private key; random where there is none. */
export function createResetKey(tls: QuicTls | "insecure"): Uint8Array {
  if (tls === "insecure") return randomBytes(32);
  const secret = createPrivateKey(tls.key).export({ type: "pkcs8", format: "der" });
  return new Uint8Array(hkdfSync("sha256", secret, "", "damselfly quic stateless reset", 32));
}
