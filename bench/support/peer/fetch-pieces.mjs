import { setMaxListeners } from "node:events";
import { requestFor } from "./synthetic-source.mjs";

/**
 * Downloads pieces of one length, several at a time, and throws their bytes away.
 *
 * Ends when all are there, or after `limitMs`: what had come by then counts, and `isWhole` is false.
 *
 * @param load.pieceLength - bytes
 * @param load.parallel - pieces asked for at a time
 * @returns `bytes`, `seconds`, `pieceCount` (whole ones), `isWhole`
 * @throws whatever a download throws before the limit
 */
export async function fetchPieces(
  downloader,
  parent,
  { pieceLength, pieceCount, parallel, limitMs },
) {
  const limit = AbortSignal.timeout(limitMs);
  setMaxListeners(0, limit); // one a piece, and a few more
  const startedAt = performance.now();
  let next = 0;
  let done = 0;
  let bytes = 0;
  const lane = async () => {
    while (next < pieceCount && !limit.aborted) {
      const pieceNumber = next;
      next += 1;
      const request = requestFor(pieceLength, pieceNumber);
      const { content } = await downloader.downloadPiece(parent, request, { signal: limit });
      for await (const chunk of content) bytes += chunk.byteLength;
      done += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(parallel, pieceCount) }, lane));
  } catch (error) {
    if (!limit.aborted) throw error;
  }
  const seconds = (performance.now() - startedAt) / 1000;
  return { bytes, seconds, pieceCount: done, isWhole: done === pieceCount };
}
