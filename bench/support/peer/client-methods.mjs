// The side that wants the pieces.
import { findBackend } from "../backends.mjs";
import { contentOf, requestFor } from "./synthetic-source.mjs";
import { fetchPieces } from "./fetch-pieces.mjs";
import { SoakLoop } from "./soak-loop.mjs";
import { untilTrue } from "./until-true.mjs";

/** How long a pooled connection may take to go, once it is idle. */
const CLOSED_MS = 5_000;

let context;
let downloader;
let soak;

export const clientMethods = {
  /** Opens the downloader that the other methods use; nothing is sent yet. */
  async openDownloader(options) {
    context = options;
    downloader = createDownloader({});
  },

  /** Fetches pieces and compares every byte. Throws where one is wrong. */
  async verify({ pieceLength, pieceCount }) {
    for (let pieceNumber = 0; pieceNumber < pieceCount; pieceNumber += 1) {
      const request = requestFor(pieceLength, pieceNumber);
      const expected = contentOf(request);
      const { content } = await downloader.downloadPiece(context.parent, request);
      let offset = 0;
      for await (const chunk of content) {
        const wanted = expected.subarray(offset, offset + chunk.byteLength);
        if (Buffer.compare(chunk, wanted) !== 0)
          throw new Error(
            `Piece ${pieceNumber} is wrong between ${offset} and ${offset + chunk.byteLength}`,
          );
        offset += chunk.byteLength;
      }
      if (offset !== pieceLength) throw new Error(`Piece ${pieceNumber} has ${offset} bytes`);
    }
  },

  /** See `fetchPieces`. */
  async fetch(load) {
    return await fetchPieces(downloader, context.parent, load);
  },

  /** Gets a first chunk of pieces, one after the other, and wants no more. */
  async cancel({ pieceLength, count }) {
    for (let pieceNumber = 0; pieceNumber < count; pieceNumber += 1) {
      const request = requestFor(pieceLength, pieceNumber);
      const { content } = await downloader.downloadPiece(context.parent, request);
      for await (const chunk of content) if (chunk.byteLength > 0) break;
    }
  },

  /** Gets a small piece by each of the parents, so that a connection to each is in the pool. @returns how many connections there are */
  async connect({ parents, pieceLength, parallel }) {
    const request = requestFor(pieceLength, 0);
    const left = [...parents];
    const lane = async () => {
      for (let parent = left.pop(); parent !== undefined; parent = left.pop()) {
        const { content } = await downloader.downloadPiece(parent, request);
        for await (const chunk of content) if (chunk.byteLength === 0) break;
      }
    };
    await Promise.all(Array.from({ length: parallel }, lane));
    return downloader.connectionCount;
  },

  /** See `SoakLoop`. */
  async startSoak(options) {
    soak = new SoakLoop(downloader, context.parent, options);
  },
  async stopSoak() {
    return await soak.stop();
  },

  /** Milliseconds to the first byte of small pieces, one after the other, on the pooled connection. */
  async timePooled({ pieceLength, count }) {
    const times = [];
    for (let number = 0; number < count; number += 1) {
      times.push(await timeFirstByte(downloader, pieceLength));
    }
    return times;
  },

  /** The same where each piece is the first that a downloader of its own gets, with the time of the handshake where it is known. */
  async timeNew({ pieceLength, count }) {
    const times = [];
    const handshakes = [];
    for (let number = 0; number < count; number += 1) {
      const fresh = createDownloader({});
      times.push(await timeFirstByte(fresh, pieceLength));
      const handshakeMs = fresh.stats?.().connections?.[0]?.handshakeMs;
      if (handshakeMs !== undefined) handshakes.push(handshakeMs);
      await fresh[Symbol.asyncDispose]();
    }
    return { times, handshakes };
  },

  /** The same on a new connection to a parent that this downloader has talked to before: 0-RTT, where there is such a thing. */
  async timeAgain({ pieceLength, count }) {
    const idleTimeoutMs = 1;
    const again = createDownloader({ idleTimeoutMs, pool: { idleTimeoutMs } });
    const times = [];
    let earlyCount = 0;
    await timeFirstByte(again, pieceLength);
    for (let number = 0; number < count; number += 1) {
      if (!(await untilTrue(() => again.connectionCount === 0, CLOSED_MS))) break;
      times.push(
        await timeFirstByte(again, pieceLength, () => {
          if (again.stats?.().connections?.[0]?.earlyData === "accepted") earlyCount += 1;
        }),
      );
    }
    await again[Symbol.asyncDispose]();
    return { times, earlyCount };
  },

  /** What the transport itself counts: a record for every connection; nothing where it does not count. */
  async connectionStats() {
    return downloader.stats?.().connections ?? [];
  },

  async closeDownloader() {
    await downloader[Symbol.asyncDispose]();
  },
};

function createDownloader(options) {
  const { identity, tuning } = context;
  return findBackend(context.backend).download({ ...options, identity, tuning });
}

/** @param onFirst - called at the first byte, while the connection is still in use */
async function timeFirstByte(from, pieceLength, onFirst = () => {}) {
  const request = requestFor(pieceLength, 0);
  const startedAt = performance.now();
  const { content } = await from.downloadPiece(context.parent, request);
  let firstMs;
  for await (const chunk of content) {
    if (firstMs === undefined && chunk.byteLength > 0) {
      firstMs = performance.now() - startedAt;
      onFirst();
    }
  }
  return firstMs;
}
