import { setTimeout as pause } from "node:timers/promises";
import { contentOf, requestFor } from "./synthetic-source.mjs";

const PIECE_LENGTHS = [10_000, 1 << 20, 4 << 20];
/** After a failure, so that a server that is away is not asked in a tight loop. */
const RETRY_MS = 50;
const STALL_MS = 300;

/**
 * Downloads pieces without end, several at a time: most to their end, some cancelled half-way, some by a reader that stops for a moment.
 * Failures are expected, the server is killed meanwhile; wrong bytes never are.
 */
export class SoakLoop {
  #downloader;
  #parent;
  #isStopping = false;
  #lanes;
  #counts = { pieces: 0, bytes: 0, cancels: 0, stalls: 0, failures: {}, wrong: [] };

  constructor(downloader, parent, { parallel }) {
    this.#downloader = downloader;
    this.#parent = parent;
    this.#lanes = Array.from({ length: parallel }, () => this.#run());
  }

  /** @returns what was done, once the last piece has come to its end */
  async stop() {
    this.#isStopping = true;
    await Promise.all(this.#lanes);
    return this.#counts;
  }

  async #run() {
    while (!this.#isStopping) {
      try {
        await this.#download();
      } catch (error) {
        const name = error.code ?? error.message;
        this.#counts.failures[name] = (this.#counts.failures[name] ?? 0) + 1;
        await pause(RETRY_MS);
      }
    }
  }

  async #download() {
    const counts = this.#counts;
    const length = PIECE_LENGTHS[Math.floor(Math.random() * PIECE_LENGTHS.length)];
    const fate = Math.random();
    const endAt = fate < 0.2 ? Math.random() * length : Infinity;
    const stallAt = fate > 0.9 ? Math.random() * length : Infinity;
    const request = requestFor(length, Math.floor(Math.random() * 1000));
    const expected = contentOf(request);
    const { content } = await this.#downloader.downloadPiece(this.#parent, request);
    let offset = 0;
    let hasStalled = false;
    for await (const chunk of content) {
      const wanted = expected.subarray(offset, offset + chunk.byteLength);
      if (Buffer.compare(chunk, wanted) !== 0) counts.wrong.push({ ...request, offset });
      offset += chunk.byteLength;
      counts.bytes += chunk.byteLength;
      if (offset >= endAt) {
        counts.cancels += 1;
        return;
      }
      if (offset >= stallAt && !hasStalled) {
        hasStalled = true;
        counts.stalls += 1;
        await pause(STALL_MS);
      }
    }
    if (offset !== length) counts.wrong.push({ ...request, offset });
    counts.pieces += 1;
  }
}
