import { VortexError } from "./errors.ts";
import { SKIPPED_LENGTH_MAX, TAG_ROWS, type TagRow } from "./tag.ts";

/**
 * The six bytes in front of every packet:
 *
 *     offset  size  field
 *          0     1  packet id
 *          1     1  tag
 *          2     4  value length, u32
 *
 * All integers of the protocol are big-endian. Source: dragonflyoss/vortex-protocol@6dd0549, src/lib.rs, `Header`.
 */
export interface Header {
  readonly id: number;
  readonly tag: number;
  /** Undefined: the tag is reserved. */
  readonly row: TagRow | undefined;
  /** In bytes; within the bounds of the tag. */
  readonly valueLength: number;
}

export const HEADER_LENGTH = 6;

/** @throws {VortexError} `ERR_VALUE_LENGTH` if the tag does not allow the length */
export function decodeHeader(bytes: DataView): Header {
  const tag = bytes.getUint8(1);
  const row = TAG_ROWS.get(tag);
  const valueLength = bytes.getUint32(2);
  const { lengthMin, lengthMax } = row ?? { lengthMin: 0, lengthMax: SKIPPED_LENGTH_MAX };
  if (valueLength < lengthMin || valueLength > lengthMax) {
    throw new VortexError(
      "ERR_VALUE_LENGTH",
      `Cannot decode packet with tag ${tag}: its value has ${valueLength} bytes, expected ${lengthMin} to ${lengthMax}`,
    );
  }
  return { id: bytes.getUint8(0), tag, row, valueLength };
}
