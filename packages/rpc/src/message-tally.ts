/** One byte that says whether it is compressed, and four for its length, in front of each message. */
const PREFIX_LENGTH = 5;

/**
 * Follows where the messages of a gRPC call begin and end, without keeping them.
 *
 *     offset  length  field
 *          0       1  0, or 1: compressed
 *          1       4  length of the message in bytes, big-endian
 *          5       …  the message
 *
 * Source: grpc/grpc, doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message".
 */
export class MessageTally {
  #length = 0;
  #unfinishedLength = 0;
  /** Of the prefix that is arriving. */
  #prefixLength = 0;
  #announcedLength = 0;
  /** Still to come of the message whose prefix is complete. */
  #missingLength = 0;
  #hasBegun = false;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  /** Of them, those that belong to a message that is not complete. */
  get unfinishedLength(): number {
    return this.#unfinishedLength;
  }

  /** Whether something has come, and nothing of it is incomplete. */
  get isWhole(): boolean {
    return this.#hasBegun && this.#unfinishedLength === 0;
  }

  push(chunk: Uint8Array): void {
    this.#length += chunk.byteLength;
    this.#hasBegun ||= chunk.byteLength > 0;
    let position = 0;
    while (position < chunk.byteLength) {
      if (this.#missingLength > 0) {
        const taken = Math.min(this.#missingLength, chunk.byteLength - position);
        position += taken;
        this.#missingLength -= taken;
        this.#unfinishedLength = this.#missingLength === 0 ? 0 : this.#unfinishedLength + taken;
        continue;
      }
      if (this.#prefixLength > 0) {
        this.#announcedLength = this.#announcedLength * 256 + (chunk[position] ?? 0);
      }
      position += 1;
      this.#prefixLength += 1;
      this.#unfinishedLength += 1;
      if (this.#prefixLength < PREFIX_LENGTH) continue;
      this.#missingLength = this.#announcedLength;
      this.#prefixLength = 0;
      this.#announcedLength = 0;
      if (this.#missingLength === 0) this.#unfinishedLength = 0;
    }
  }
}
