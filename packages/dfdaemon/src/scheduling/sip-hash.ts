/**
 * SipHash-2-4 with an all-zero key, as an unsigned 64-bit number: what Rust's `SipHasher24::new()` computes.
 * Not for secrets. The one package for it (`siphash`) has neither types nor modules, and needs as many lines around it.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), section 2.
 */
export function sipHash24(message: Uint8Array): bigint {
  const state: State = [
    0x736f6d6570736575n,
    0x646f72616e646f6dn,
    0x6c7967656e657261n,
    0x7465646279746573n,
  ];
  const { length } = message;
  const view = new DataView(message.buffer, message.byteOffset, length);
  const wholeLength = length - (length % WORD_LENGTH);
  for (let offset = 0; offset < wholeLength; offset += WORD_LENGTH)
    absorb(state, view.getBigUint64(offset, true));
  let last = BigInt(length & 0xff) << 56n;
  for (let offset = wholeLength; offset < length; offset += 1)
    last |= BigInt(view.getUint8(offset)) << BigInt(8 * (offset - wholeLength));
  absorb(state, last);
  state[2] ^= 0xffn;
  for (let round = 0; round < 4; round += 1) mix(state);
  return state[0] ^ state[1] ^ state[2] ^ state[3];
}

type State = [bigint, bigint, bigint, bigint];

/** Bytes. */
const WORD_LENGTH = 8;

function absorb(state: State, word: bigint): void {
  state[3] ^= word;
  mix(state);
  mix(state);
  state[0] ^= word;
}

/** One SipRound. */
function mix(state: State): void {
  let [v0, v1, v2, v3] = state;
  v0 = add(v0, v1);
  v2 = add(v2, v3);
  v1 = rotate(v1, 13n) ^ v0;
  v3 = rotate(v3, 16n) ^ v2;
  v0 = rotate(v0, 32n);
  v2 = add(v2, v1);
  v0 = add(v0, v3);
  v1 = rotate(v1, 17n) ^ v2;
  v3 = rotate(v3, 21n) ^ v0;
  v2 = rotate(v2, 32n);
  state[0] = v0;
  state[1] = v1;
  state[2] = v2;
  state[3] = v3;
}

function add(a: bigint, b: bigint): bigint {
  return BigInt.asUintN(64, a + b);
}

function rotate(value: bigint, bits: bigint): bigint {
  return BigInt.asUintN(64, value << bits) | (value >> (64n - bits));
}
