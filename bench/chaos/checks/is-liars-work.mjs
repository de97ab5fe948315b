// Whether a file is nothing but the truth and what a liar has told of it.
import { open } from "node:fs/promises";
import { bytesOf, bytesOfLie, createOther, PIECE_LENGTH } from "../liar/lying-source.mjs";

/**
 * @param {string} path
 * @param {{ content: object, from: number, end: number }} part - of a content, that the file should be
 * @param {{ start: string | number, hows: string[] }} lies - that were told of it
 * @returns whether each piece is as it should be or as a liar sent it, and one at least is not as it should be
 */
export async function isLiarsWork(path, { content, from, end }, { start, hows }) {
  const other = createOther({ start, content });
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size !== end - from) return false;
    let lieCount = 0;
    for (let at = from; at < end;) {
      const number = Math.floor(at / PIECE_LENGTH);
      const pieceOffset = number * PIECE_LENGTH;
      const length = Math.min(pieceOffset + PIECE_LENGTH, end) - at;
      const bytes = await readAt(file, at - from, length);
      const holds = (piece) => {
        const begin = at - pieceOffset;
        return piece.subarray(begin, begin + length).equals(bytes);
      };
      if (!holds(bytesOf(content, number))) {
        if (!hows.some((how) => holds(bytesOfLie({ how, content, other }, number)))) return false;
        lieCount += 1;
      }
      at += length;
    }
    return lieCount > 0;
  } finally {
    await file.close();
  }
}

async function readAt(file, offset, length) {
  const buffer = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) throw new Error(`Cannot compare: the file ended at ${offset + done}`);
    done += bytesRead;
  }
  return buffer;
}
