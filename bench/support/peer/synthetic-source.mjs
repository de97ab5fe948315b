// Pieces out of memory, the same ones in every process that knows the seed.
import { createCipheriv } from "node:crypto";

const PIECE_LENGTH_MAX = 16 << 20;
/** As storage hands them out. */
const CHUNK_LENGTH = 512 << 10;
/** Neighbouring pieces start this far apart in the one block that all are views of: a piece is never taken for another. */
const STRIDE = 4099;
const STRIDE_COUNT = 64;

let block;

/** Content of a piece: a view of memory that is shared, and must not be written to. */
export function contentOf({ taskId, pieceNumber }) {
  block ??= createBlock();
  const start = (pieceNumber % STRIDE_COUNT) * STRIDE;
  return block.subarray(start, start + pieceLengthOf(taskId));
}

/** As a daemon asks for a piece: it knows how long they are. The task's id says it to the source. */
export function requestFor(pieceLength, pieceNumber) {
  return { taskId: taskIdOf(pieceLength), pieceNumber, expectedLength: pieceLength };
}

function taskIdOf(pieceLength) {
  if (pieceLength > PIECE_LENGTH_MAX)
    throw new RangeError(
      `Cannot make pieces of ${pieceLength} bytes: ${PIECE_LENGTH_MAX} is the most`,
    );
  return pieceLength.toString(16).padStart(64, "0");
}

/** No digest is computed: what is measured is the transport. */
export const syntheticSource = {
  async openPiece(request) {
    const whole = contentOf(request);
    const length = whole.byteLength;
    const { pieceNumber, range } = request;
    const asked =
      range === undefined ? whole : whole.subarray(range.offset, range.offset + range.length);
    return {
      piece: { number: pieceNumber, offset: pieceNumber * length, length, digest: "crc32:0" },
      content: chunksOf(asked),
      async [Symbol.asyncDispose]() {},
    };
  },
};

async function* chunksOf(content) {
  for (let offset = 0; offset < content.byteLength; offset += CHUNK_LENGTH) {
    yield content.subarray(offset, offset + CHUNK_LENGTH);
  }
}

function pieceLengthOf(taskId) {
  return Number.parseInt(taskId, 16);
}

function createBlock() {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, "damselfly"), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(PIECE_LENGTH_MAX + STRIDE * STRIDE_COUNT));
}
