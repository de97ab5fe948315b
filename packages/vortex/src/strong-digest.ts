import type { ByteReader } from "./byte-reader.ts";

/**
 * A strong digest behind the fields that Dragonfly's metadata has, where the protocol leaves room:
 *
 *     size  field
 *        4  mark, so that a field of Dragonfly's to come is not taken for it
 *        1  kind, u8
 *       32  digest
 *
 * @param digest `sha256:` and 64 hex digits; undefined: no bytes
 * @throws {RangeError} for anything else
 */
export function encodeStrongDigest(digest: string | undefined): Uint8Array {
  if (digest === undefined) return NOTHING;
  if (!SHA256.test(digest)) {
    throw new RangeError(
      `Cannot encode strong digest: it is ${digest.slice(0, 80)}, expected sha256:…`,
    );
  }
  const bytes = new Uint8Array(LENGTH);
  bytes.set(MARK);
  bytes[MARK.byteLength] = KIND_SHA256;
  bytes.set(Buffer.from(digest.slice(PREFIX.length), "hex"), MARK.byteLength + 1);
  return bytes;
}

/** Undefined: something else follows, or nothing. */
export function readStrongDigest(reader: ByteReader): string | undefined {
  if (reader.remaining < LENGTH) return undefined;
  const bytes = reader.bytes(LENGTH, "strong digest");
  const isMarked = MARK.every((byte, index) => bytes[index] === byte);
  if (!isMarked || bytes[MARK.byteLength] !== KIND_SHA256) return undefined;
  return `${PREFIX}${Buffer.from(bytes.subarray(MARK.byteLength + 1)).toString("hex")}`;
}

const PREFIX = "sha256:";
const SHA256 = /^sha256:[0-9a-f]{64}$/;
const KIND_SHA256 = 1;
/** `DMSL` */
const MARK = Uint8Array.of(0x44, 0x4d, 0x53, 0x4c);
const LENGTH = MARK.byteLength + 1 + 32;
const NOTHING = new Uint8Array(0);
