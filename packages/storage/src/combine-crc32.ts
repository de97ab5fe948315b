/**
 * Puts the CRC-32s of consecutive parts together to that of the whole, without the bytes: appending `length` bytes to what has CRC-32 `left`
 * multiplies it, as a polynomial, by x^(8 · length) modulo the generator. The way of zlib's `crc32_combine`; its arithmetic is described
 * in RFC 1952, section 8, and in zlib's crc32.c.
 */
export function combineCrc32(
  parts: Iterable<{ readonly crc32: number; readonly length: number }>,
): number {
  let whole = 0;
  // All parts but the last are mostly of one length.
  let shift = { length: 0, factor: ONE };
  for (const { crc32, length } of parts) {
    if (shift.length !== length) shift = { length, factor: powerOfX(length) };
    whole = (multiply(shift.factor, whole) ^ crc32) >>> 0;
  }
  return whole;
}

/** Bits are reversed, as everywhere in this CRC: the lowest power is the highest bit. */
const GENERATOR = 0xed_b8_83_20;
/** x⁰ */
const ONE = 0x80_00_00_00;

/** The product of two polynomials modulo the generator. */
function multiply(left: number, right: number): number {
  let product = 0;
  let multiple = right;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((left & bit) !== 0) product ^= multiple;
    multiple = (multiple & 1) === 0 ? multiple >>> 1 : (multiple >>> 1) ^ GENERATOR;
  }
  return product >>> 0;
}

/** x^(8 · length), by squares. */
function powerOfX(length: number): number {
  let power = ONE;
  // x⁸
  let square = ONE >>> 8;
  // Lengths may be above 2³², so no bit operators.
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = multiply(square, power);
    square = multiply(square, square);
  }
  return power;
}
