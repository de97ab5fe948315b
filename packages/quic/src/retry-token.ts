import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** A client answers a Retry at once. */
const LIFETIME_MS = 10_000;

const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const TIME_LENGTH = 6;
/** The most that QUIC version 1 allows. */
const ID_LENGTH_MAX = 20;

export interface RetryContext {
  /** The address without its port, which a NAT may change between two packets. */
  readonly ip: string;
  /** The connection id that the Retry tells the client to use. */
  readonly newId: Uint8Array;
}

/**
 * The token of a Retry packet: the client sends it back, which proves that it receives at its address, and the server
 * has to remember nothing in between. AES-256-GCM under a key that lives as long as this object:
 *
 *     size  field
 *       12  nonce
 *        6  last moment of use, milliseconds since 1970, big-endian, encrypted
 *        …  the id that the client sent its first packet to, encrypted
 *       16  tag, which also covers address and new id
 *
 * Source of what it is for: RFC 9000, section 8.1.2.
 */
export class RetryTokens {
  readonly #key = randomBytes(32);

  seal(originalId: Uint8Array, context: RetryContext, now: number): Buffer {
    const nonce = randomBytes(NONCE_LENGTH);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce).setAAD(toAssociated(context));
    const time = Buffer.alloc(TIME_LENGTH);
    time.writeUIntBE(now + LIFETIME_MS, 0, TIME_LENGTH);
    return Buffer.concat([
      nonce,
      cipher.update(time),
      cipher.update(originalId),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
  }

  /** The id that the client sent its first packet to; undefined unless the token is ours, for this, and fresh. */
  open(token: Uint8Array, context: RetryContext, now: number): Buffer | undefined {
    const idLength = token.byteLength - NONCE_LENGTH - TIME_LENGTH - TAG_LENGTH;
    if (idLength < 0 || idLength > ID_LENGTH_MAX) return undefined;
    const tagAt = token.byteLength - TAG_LENGTH;
    const decipher = createDecipheriv("aes-256-gcm", this.#key, token.subarray(0, NONCE_LENGTH))
      .setAAD(toAssociated(context))
      .setAuthTag(token.subarray(tagAt));
    let content: Buffer;
    try {
      content = Buffer.concat([
        decipher.update(token.subarray(NONCE_LENGTH, tagAt)),
        decipher.final(),
      ]);
    } catch {
      return undefined; // of another process, for another address, or made up
    }
    return content.readUIntBE(0, TIME_LENGTH) > now ? content.subarray(TIME_LENGTH) : undefined;
  }
}

function toAssociated({ ip, newId }: RetryContext): Buffer {
  return Buffer.concat([Buffer.of(newId.byteLength), newId, Buffer.from(ip)]);
}
