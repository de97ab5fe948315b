/**
 * SipHash-2-4 with an all-zero key, as an unsigned 64-bit number: what Rust's `SipHasher24::new()` computes.
 * Not for secrets. In halves of 32 bits, since a ring of ten schedulers hashes five thousand names at once: with BigInt that took twice
 * as long. The one package for it (`siphash`) has neither types nor modules.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), section 2.
 */
export function sipHash24(message: Uint8Array): bigint {
  const state = Int32Array.of(...INITIAL_STATE);
  const { length } = message;
  const view = new DataView(message.buffer, message.byteOffset, length);
  const wholeLength = length - (length % WORD_LENGTH);
  for (let offset = 0; offset < wholeLength; offset += WORD_LENGTH)
    absorb(state, view.getInt32(offset + 4, true), view.getInt32(offset, true));
  const last = new DataView(new ArrayBuffer(WORD_LENGTH));
  for (let offset = wholeLength; offset < length; offset += 1)
    last.setUint8(offset - wholeLength, view.getUint8(offset));
  last.setUint8(WORD_LENGTH - 1, length & 0xff);
  absorb(state, last.getInt32(4, true), last.getInt32(0, true));
  state[5]! ^= 0xff;
  for (let round = 0; round < 4; round += 1) mix(state);
  const high = (state[0]! ^ state[2]! ^ state[4]! ^ state[6]!) >>> 0;
  const low = (state[1]! ^ state[3]! ^ state[5]! ^ state[7]!) >>> 0;
  return (BigInt(high) << 32n) | BigInt(low);
}

/** v0 to v3, the high half of each before its low half: "somepseudorandomlygeneratedbytes". */
const INITIAL_STATE = [
  0x736f6d65, 0x70736575, 0x646f7261, 0x6e646f6d, 0x6c796765, 0x6e657261, 0x74656462, 0x79746573,
] as const;
/** Bytes. */
const WORD_LENGTH = 8;

function absorb(state: Int32Array, high: number, low: number): void {
  state[6]! ^= high;
  state[7]! ^= low;
  mix(state);
  mix(state);
  state[0]! ^= high;
  state[1]! ^= low;
}

/** One SipRound. */
function mix(state: Int32Array): void {
  addInto(state, 0, 2);
  rotateAndXor(state, 2, 13, 0);
  swapHalves(state, 0);
  addInto(state, 4, 6);
  rotateAndXor(state, 6, 16, 4);
  addInto(state, 0, 6);
  rotateAndXor(state, 6, 21, 0);
  addInto(state, 4, 2);
  rotateAndXor(state, 2, 17, 4);
  swapHalves(state, 4);
}

/** The word at `to` plus the one at `from`. */
function addInto(state: Int32Array, to: number, from: number): void {
  const low = (state[to + 1]! >>> 0) + (state[from + 1]! >>> 0);
  state[to + 1] = low;
  state[to]! += state[from]! + (low > 0xffffffff ? 1 : 0);
}

/** The word at `at` turned left by `bits` (below 32), then xored with the one at `by`. */
function rotateAndXor(state: Int32Array, at: number, bits: number, by: number): void {
  const [high, low] = [state[at]!, state[at + 1]!];
  state[at] = ((high << bits) | (low >>> (32 - bits))) ^ state[by]!;
  state[at + 1] = ((low << bits) | (high >>> (32 - bits))) ^ state[by + 1]!;
}

/** Turns the word at `at` by 32 bits. */
function swapHalves(state: Int32Array, at: number): void {
  const high = state[at]!;
  state[at] = state[at + 1]!;
  state[at + 1] = high;
}
