// A `PieceSource` that has every piece of a file and does not give it as it is.
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { TransportError } from "@damselfly/transport";
import { createContent } from "../schedule/content.mjs";

/** As everybody cuts files of this length: see choosePieceLength. */
export const PIECE_LENGTH = 4 * 2 ** 20;
const CRAWL_MS = 300;

/** The file that a liar has in place of another one. */
export function createOther({ start, content: { name, version, length } }) {
  return createContent({ start, name: `not ${name}`, version, length });
}

/** What it says that it has: the truth. @returns pieces as they are announced */
export function describePieces(content) {
  const count = Math.ceil(content.length / PIECE_LENGTH);
  return Array.from({ length: count }, (_, number) => describe(number, bytesOf(content, number)));
}

/**
 * @param find - `(taskId) => { how, content, other } | undefined`, see LIES; `other` is the content of another file
 * @param signal - aborts when it stops serving
 * @param onAsked - called with the lie each time that somebody is about to be lied to
 */
export function createLyingSource({ find, signal: closing, onAsked }) {
  return {
    async openPiece({ taskId, pieceNumber, range }, { signal = closing } = {}) {
      const lie = find(taskId);
      if (lie === undefined || lie.how === "not found") {
        if (lie !== undefined) onAsked(lie.how);
        throw new TransportError("ERR_PIECE_NOT_FOUND", "Cannot open piece: it is not here");
      }
      onAsked(lie.how);
      const truth = bytesOf(lie.content, pieceNumber);
      const { piece, bytes } = distort(lie, pieceNumber, truth);
      const from = range?.offset ?? 0;
      const asked = bytes.subarray(from, from + (range?.length ?? bytes.byteLength));
      const either = AbortSignal.any([signal, closing]);
      return {
        piece,
        content: tell(lie.how, asked, either),
        [Symbol.asyncDispose]: async () => {},
      };
    },
  };
}

/** What comes of a piece in the end, where it is one whose digest is told with it. */
export function bytesOfLie({ how, content, other }, number) {
  return distort({ how, other }, number, bytesOf(content, number)).bytes;
}

export function bytesOf(content, number) {
  const offset = number * PIECE_LENGTH;
  const end = Math.min(offset + PIECE_LENGTH, content.length);
  return Buffer.concat([...content.parts(offset, end)]);
}

function describe(number, bytes) {
  const offset = number * PIECE_LENGTH;
  return { number, offset, length: bytes.byteLength, digest: `crc32:${crc32(bytes)}` };
}

function distort({ how, other }, number, truth) {
  const piece = describe(number, truth);
  switch (how) {
    case "wrong bytes":
      return { piece, bytes: flipped(truth) };
    case "wrong bytes and their digest":
      return { piece: describe(number, flipped(truth)), bytes: flipped(truth) };
    case "another length":
      return { piece: { ...piece, length: piece.length - 1 }, bytes: truth.subarray(1) };
    case "another file": {
      const bytes = Buffer.concat([...other.parts(piece.offset, piece.offset + truth.byteLength)]);
      return { piece: describe(number, bytes), bytes };
    }
    default:
      return { piece, bytes: truth };
  }
}

function flipped(bytes) {
  const copy = Buffer.from(bytes);
  if (copy.byteLength > 0) copy[copy.byteLength >> 1] ^= 1;
  return copy;
}

async function* tell(how, bytes, signal) {
  if (how === "too few bytes") {
    yield bytes.subarray(0, -1);
    throw new TransportError("ERR_PARENT_FAILED", "Cannot go on: there is no more");
  }
  if (how === "nothing" || how === "nothing after half") {
    if (how === "nothing after half") yield bytes.subarray(0, bytes.byteLength >> 1);
    if (!signal.aborted) await once(signal, "abort");
    throw signal.reason;
  }
  if (how === "a byte now and then") {
    for (let at = 0; at < bytes.byteLength; at += 1) {
      yield bytes.subarray(at, at + 1);
      await pause(CRAWL_MS, undefined, { signal });
    }
    return;
  }
  for (let at = 0; at < bytes.byteLength; at += 128 * 1024)
    yield bytes.subarray(at, at + 128 * 1024);
}
