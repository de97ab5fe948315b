// The bytes of the files that the harness' origin serves: nobody keeps them, everybody can make any part of them.
import { createCipheriv, createHash } from "node:crypto";

const BLOCK_LENGTH = 16;
/** Content is made in parts of this length at most. */
const PART_LENGTH = 1 << 20;

/**
 * One version of one file: `length` bytes of AES-128 in counter mode under a key of its own, so that two versions, or two places of
 * one, have no 16 bytes in common but by accident.
 *
 * @param {{ start: string | number, name: string, version: number, length: number }} identity
 */
export function createContent({ start, name, version, length }) {
  const key = createHash("sha256").update(`${start}/${name}/${version}`).digest().subarray(0, 16);
  /** Bytes from `offset` up to `end`, at most `PART_LENGTH` of them. */
  const bytes = (offset, end) => {
    const lead = offset % BLOCK_LENGTH;
    const counter = Buffer.alloc(BLOCK_LENGTH);
    counter.writeBigUInt64BE(BigInt((offset - lead) / BLOCK_LENGTH), 8);
    const cipher = createCipheriv("aes-128-ctr", key, counter);
    return cipher.update(Buffer.alloc(lead + Math.min(end - offset, PART_LENGTH))).subarray(lead);
  };
  return {
    name,
    version,
    length,
    bytes,
    /** All bytes from `offset` up to `end`, in order. */
    *parts(offset = 0, end = length) {
      for (let at = offset; at < end;) {
        const part = bytes(at, end);
        at += part.byteLength;
        yield part;
      }
    },
    sha256() {
      const hash = createHash("sha256");
      for (const part of this.parts()) hash.update(part);
      return hash.digest("hex");
    },
  };
}
