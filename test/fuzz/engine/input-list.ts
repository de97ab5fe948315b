/** Inputs in one file, each behind its length of four bytes, big-endian. */
export function encodeInputs(inputs: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    inputs.flatMap((input) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(input.byteLength);
      return [length, input];
    }),
  );
}

/** As many as are there as a whole. */
export function decodeInputs(bytes: Buffer): Buffer[] {
  const inputs: Buffer[] = [];
  for (let at = 0; at + 4 <= bytes.byteLength;) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.byteLength) break;
    inputs.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return inputs;
}
