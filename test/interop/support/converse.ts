import { createHash } from "node:crypto";
import { connect } from "node:net";
import { PacketDecoder, type Packet } from "@damselfly/vortex";
import { LOOPBACK } from "../../support/daemon.ts";

/**
 * Sends bytes to a server of Vortex over TCP, reads until it has answered so often, and says goodbye; or until it closes.
 *
 * @param answerCount 0: goodbye is said at once, while the server may still want more
 * @returns every answer in one line: of a piece its metadata and its content's SHA-256, of an error its code and message
 */
export async function converse(
  port: number,
  bytes: Uint8Array,
  answerCount: number,
): Promise<string[]> {
  const socket = connect({ host: LOOPBACK, port, allowHalfOpen: true });
  const reader = new AnswerReader();
  socket.write(bytes);
  if (answerCount === 0) socket.end();
  // A server that closes while there is more to read resets the connection: what came before that counts.
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      reader.push(chunk);
      if (answerCount > 0 && reader.answers.length === answerCount) socket.end();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.on("end", () => socket.destroy());
  });
  return reader.finish();
}

class AnswerReader {
  readonly answers: string[] = [];
  #chunks: Uint8Array[] = [];
  #length = 0;
  /** With fewer bytes there is nothing to see. */
  #neededLength = 1;

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#length += chunk.byteLength;
    while (this.#length >= this.#neededLength) this.#look(Buffer.concat(this.#chunks));
  }

  finish(): string[] {
    return this.#length === 0 ? this.answers : [...this.answers, `${this.#length} bytes more`];
  }

  #look(bytes: Uint8Array): void {
    const decoded = new PacketDecoder().push(bytes);
    if (decoded === undefined) {
      this.#neededLength = bytes.byteLength + 1;
      return;
    }
    const { packet, rest } = decoded;
    const contentLength = packet.kind === "content" ? packet.length : 0;
    this.#neededLength = bytes.byteLength - rest.byteLength + contentLength;
    if (bytes.byteLength < this.#neededLength) return;
    this.answers.push(describe(packet, rest.subarray(0, contentLength)));
    const left = rest.subarray(contentLength);
    this.#chunks = [left];
    this.#length = left.byteLength;
    this.#neededLength = 1;
  }
}

function describe(packet: Packet, content: Uint8Array): string {
  if (packet.kind === "error") return `error ${packet.code}: ${packet.message}`;
  if (packet.kind !== "content") return `tag ${packet.tag}`;
  const { tag, pieceNumber, offset, length, digest, trafficType, costSeconds } = packet;
  const sha256 = createHash("sha256").update(content).digest("hex");
  return [
    `tag ${tag}: piece ${pieceNumber} at ${offset}, ${length} bytes, ${digest}, traffic ${trafficType}`,
    `cost ${costSeconds} s, content ${sha256}`,
  ].join(", ");
}
