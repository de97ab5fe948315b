import { crc32 } from "node:zlib";
import { pattern } from "@damselfly/quic/testing";
import {
  clipByteRange,
  type PieceInfo,
  type PieceReader,
  type PieceRequest,
  type PieceSource,
  TransportError,
} from "@damselfly/transport";
import { encodePacket, type Packet, PacketDecoder, Tag } from "@damselfly/vortex";
import { assertHolds } from "../engine/fuzz-target.ts";

/** The one task that is served. */
export const TASK_ID: string = "5a".repeat(32);

/** Its pieces, by number: lengths on both sides of what fits a packet, a window and a chunk. */
export const PIECES: readonly Buffer[] = [0, 1, 1_000, 70_000, 300_000].map((length, number) =>
  pattern(length, number * 1_000_003),
);

const CHUNK_LENGTH = 16_384;

/** Serves `PIECES`, and counts what is open. */
export class CountingSource implements PieceSource {
  #openCount = 0;

  get openCount(): number {
    return this.#openCount;
  }

  async openPiece({ taskId, pieceNumber, range }: PieceRequest): Promise<PieceReader> {
    const bytes = taskId === TASK_ID ? PIECES[pieceNumber] : undefined;
    if (bytes === undefined) throw new TransportError("ERR_PIECE_NOT_FOUND", "there is none");
    const { offset, length } = clipByteRange(range, bytes.byteLength);
    const part = bytes.subarray(offset, offset + length);
    this.#openCount++;
    let isOpen = true;
    return {
      piece: describePiece(pieceNumber),
      content: inChunks(part),
      [Symbol.asyncDispose]: async () => {
        if (isOpen) this.#openCount--;
        isOpen = false;
      },
    };
  }
}

export function describePiece(number: number): PieceInfo {
  const bytes = PIECES[number] ?? Buffer.alloc(0);
  return { number, offset: number, length: bytes.byteLength, digest: `crc32:${crc32(bytes)}` };
}

async function* inChunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += CHUNK_LENGTH) {
    yield bytes.subarray(at, at + CHUNK_LENGTH);
  }
}

/** A request as a good child sends it. */
export function encodeRequest(
  pieceNumber: number,
  range?: { readonly offset: number; readonly length: number },
): Uint8Array {
  const common = { id: 1, taskId: TASK_ID, pieceNumber };
  return range === undefined
    ? encodePacket({ ...common, kind: "request", tag: Tag.DownloadPiece })
    : encodePacket({ ...common, kind: "range-request", tag: Tag.DownloadPieceRange, ...range });
}

/**
 * Whether an answer is what it must be: the announcement and the bytes asked for, an error packet, or a beginning of either where it may
 * have been cut off.
 *
 * @returns how many bytes of `answer` belong to it, and whether it is all there
 * @throws {BrokenPromise}
 */
export function assertAnswer(
  answer: Buffer,
  asked: { readonly pieceNumber: number; readonly offset: number; readonly length: number },
): { readonly length: number; readonly isWhole: boolean } {
  const decoded = new PacketDecoder().push(answer);
  if (decoded === undefined) return { length: answer.byteLength, isWhole: false };
  const { packet, rest } = decoded;
  const headLength = answer.byteLength - rest.byteLength;
  if (packet.kind === "error") return { length: headLength, isWhole: true };
  assertAnnounced(packet, asked.pieceNumber);
  const bytes = PIECES[asked.pieceNumber] ?? Buffer.alloc(0);
  const part = bytes.subarray(asked.offset, asked.offset + asked.length);
  const content = rest.subarray(0, part.byteLength);
  assertHolds(
    part.subarray(0, content.byteLength).equals(content),
    () => `piece ${asked.pieceNumber} has other bytes`,
  );
  const isWhole = content.byteLength === part.byteLength;
  return { length: headLength + content.byteLength, isWhole };
}

function assertAnnounced(packet: Packet, pieceNumber: number): void {
  assertHolds(packet.kind === "content", () => `the answer is a ${packet.kind}`);
  const { offset, length, digest } = packet;
  const piece = describePiece(pieceNumber);
  assertHolds(
    packet.pieceNumber === pieceNumber &&
      offset === piece.offset &&
      length === piece.length &&
      digest === piece.digest,
    () => `piece ${pieceNumber} is announced as ${JSON.stringify(packet)}`,
  );
}
