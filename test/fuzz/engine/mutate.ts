import type { Random } from "./random.ts";

export interface MutateOptions {
  /** Another input, to take parts of. */
  readonly other: Uint8Array;
  /** What is worth being somewhere: names, magic bytes, whole frames. */
  readonly dictionary: readonly Uint8Array[];
  /** Longer results are cut. Bytes. */
  readonly lengthMax: number;
}

/**
 * Another input made of this one: a few changes such as a bit that flips, a length that is off by one, a part that is missing, doubled,
 * moved or another input's. The input itself is left as it is.
 */
export function mutate(input: Uint8Array, random: Random, options: MutateOptions): Uint8Array {
  let bytes = Buffer.from(input);
  let count = 1;
  while (count < 12 && random.oneIn(2)) count++;
  for (; count > 0; count--) {
    const mutated = random.pick(MUTATIONS)(bytes, random, options);
    bytes = Buffer.from(mutated.subarray(0, options.lengthMax));
  }
  return bytes;
}

type Mutation = (bytes: Buffer, random: Random, options: MutateOptions) => Uint8Array;

/** Where lengths and counts go wrong. */
const NUMBERS: readonly bigint[] = [
  [0n, 1n, 2n, 3n, 16n, 32n, 63n, 64n, 68n, 84n, 100n, 127n, 128n, 255n, 256n, 1000n, 1200n],
  [4095n, 4096n, 16_383n, 16_384n, 32_767n, 32_768n, 65_535n, 65_536n, 1_048_576n],
  [2n ** 24n, 2n ** 30n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n],
  [2n ** 53n - 1n, 2n ** 53n, 2n ** 62n - 1n, 2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
].flat();

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  flipBit,
  replaceByte,
  replaceByte,
  stepByte,
  putNumber,
  putNumber,
  putDecimal,
  cutOut,
  cutOff,
  insertBytes,
  repeatPart,
  movePart,
  overwriteWithOther,
  spliceOther,
  insertToken,
  overwriteWithToken,
];

function flipBit(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.byteLength);
  if (bytes.byteLength > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  return bytes;
}

function replaceByte(bytes: Buffer, random: Random): Buffer {
  if (bytes.byteLength > 0) bytes[random.below(bytes.byteLength)] = random.below(256);
  return bytes;
}

function stepByte(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.byteLength);
  if (bytes.byteLength > 0) bytes[at] = (bytes[at] ?? 0) + random.below(33) - 16;
  return bytes;
}

/** A number of 1, 2, 4 or 8 bytes, in either order, a fixed one or one around the length of all. */
function putNumber(bytes: Buffer, random: Random): Buffer {
  const width = random.pick([1, 2, 4, 8]);
  if (bytes.byteLength < width) return bytes;
  const at = random.below(bytes.byteLength - width + 1);
  const near = BigInt(Math.max(0, bytes.byteLength - random.below(16)));
  const number = random.oneIn(4) ? near : random.pick(NUMBERS);
  const encoded = Buffer.alloc(8);
  encoded.writeBigUInt64BE(number);
  const part = encoded.subarray(8 - width);
  if (random.oneIn(4)) part.reverse();
  part.copy(bytes, at);
  return bytes;
}

/** Digits in the text become another number. */
function putDecimal(bytes: Buffer, random: Random): Uint8Array {
  const start = random.below(bytes.byteLength);
  let at = start;
  while (at < bytes.byteLength && !isDigit(bytes[at])) at++;
  if (at === bytes.byteLength) return bytes;
  let end = at;
  while (isDigit(bytes[end])) end++;
  const sign = random.oneIn(8) ? "-" : "";
  const text = random.oneIn(8) ? "9".repeat(random.below(400)) : String(random.pick(NUMBERS));
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(sign + text), bytes.subarray(end)]);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function cutOut(bytes: Buffer, random: Random): Uint8Array {
  const [start, end] = pickPart(bytes, random);
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
}

function cutOff(bytes: Buffer, random: Random): Buffer {
  return bytes.subarray(0, random.below(bytes.byteLength + 1));
}

function insertBytes(bytes: Buffer, random: Random): Uint8Array {
  const length = 1 + random.below(16);
  const some = random.oneIn(2) ? random.bytes(length) : Buffer.alloc(length, random.below(256));
  return insertAt(bytes, random.below(bytes.byteLength + 1), some);
}

function repeatPart(bytes: Buffer, random: Random): Uint8Array {
  const [start, end] = pickPart(bytes, random);
  const repeated = bytes.subarray(start, end);
  const count = random.oneIn(8) ? 2 + random.below(64) : 1;
  return insertAt(bytes, end, Buffer.concat(Array.from({ length: count }, () => repeated)));
}

function movePart(bytes: Buffer, random: Random): Uint8Array {
  const [start, end] = pickPart(bytes, random);
  const moved = Buffer.from(bytes.subarray(start, end));
  const without = Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  return insertAt(without, random.below(without.byteLength + 1), moved);
}

function overwriteWithOther(bytes: Buffer, random: Random, { other }: MutateOptions): Buffer {
  const [start, end] = pickPart(other, random);
  Buffer.from(other.subarray(start, end)).copy(bytes, random.below(bytes.byteLength));
  return bytes;
}

/** The beginning of one and the end of the other. */
function spliceOther(bytes: Buffer, random: Random, { other }: MutateOptions): Uint8Array {
  const head = bytes.subarray(0, random.below(bytes.byteLength + 1));
  return Buffer.concat([head, other.subarray(random.below(other.byteLength + 1))]);
}

function insertToken(bytes: Buffer, random: Random, { dictionary }: MutateOptions): Uint8Array {
  if (dictionary.length === 0) return bytes;
  return insertAt(bytes, random.below(bytes.byteLength + 1), random.pick(dictionary));
}

function overwriteWithToken(bytes: Buffer, random: Random, { dictionary }: MutateOptions): Buffer {
  if (dictionary.length === 0) return bytes;
  Buffer.from(random.pick(dictionary)).copy(bytes, random.below(bytes.byteLength));
  return bytes;
}

/** Where a part begins and ends; mostly a short one. */
function pickPart(bytes: Uint8Array, random: Random): readonly [start: number, end: number] {
  const start = random.below(bytes.byteLength);
  const room = bytes.byteLength - start;
  const length = 1 + random.below(random.oneIn(3) ? room : Math.min(room, 16));
  return [start, Math.min(bytes.byteLength, start + length)];
}

function insertAt(bytes: Buffer, at: number, inserted: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
}
