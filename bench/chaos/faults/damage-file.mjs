// What may happen to a file on a disk.
import { open, rename, stat, utimes, copyFile, truncate } from "node:fs/promises";
import { createRandom } from "../schedule/random.mjs";

/** Pieces are at least this long: two of them trade places. */
const PIECE_LENGTH = 4 * 2 ** 20;

/**
 * @param {string} path
 * @param {{ how: string, place: number, length: number, keepsTime?: boolean }} damage - see fault-kinds.mjs; `place` is a fraction of the file
 * @returns what was done, in words
 */
export async function damageFile(path, { how, place, length, keepsTime = false }) {
  const { size, atime, mtime } = await stat(path);
  const from = Math.floor(place * size);
  const end = Math.min(size, from + length);
  const done = await damage(path, { how, size, from, end });
  if (keepsTime) await utimes(path, atime, mtime);
  return `${done}${keepsTime ? ", its time set back" : ""}`;
}

async function damage(path, { how, size, from, end }) {
  switch (how) {
    case "overwrite":
      await write(path, from, noise(end - from));
      return `${end - from} bytes at ${from} of ${size} overwritten`;
    case "zero":
      await write(path, from, Buffer.alloc(end - from));
      return `${end - from} bytes at ${from} of ${size} zeroed`;
    case "truncate":
      await truncate(path, from);
      return `${size} bytes cut off at ${from}`;
    case "extend":
      await write(path, size, noise(1000));
      return `1000 bytes added to ${size}`;
    case "empty":
      await truncate(path, 0);
      return `${size} bytes emptied`;
    case "swap":
      return await swapPieces(path, size);
    default:
      throw new TypeError(`Cannot damage ${path}: no way is called ${how}`);
  }
}

/** The first and the last whole piece; of a file without two of them a copy takes the file's place. */
async function swapPieces(path, size) {
  const count = Math.floor(size / PIECE_LENGTH);
  if (count < 2) {
    await copyFile(path, `${path}.copy`);
    await rename(`${path}.copy`, path);
    return `a copy put in the place of ${size} bytes`;
  }
  const last = (count - 1) * PIECE_LENGTH;
  const file = await open(path, "r+");
  try {
    const [a, b] = [Buffer.alloc(PIECE_LENGTH), Buffer.alloc(PIECE_LENGTH)];
    await file.read(a, 0, PIECE_LENGTH, 0);
    await file.read(b, 0, PIECE_LENGTH, last);
    await file.write(b, 0, PIECE_LENGTH, 0);
    await file.write(a, 0, PIECE_LENGTH, last);
  } finally {
    await file.close();
  }
  return `pieces 0 and ${count - 1} swapped`;
}

async function write(path, offset, bytes) {
  const file = await open(path, "r+");
  try {
    await file.write(bytes, 0, bytes.byteLength, offset);
  } finally {
    await file.close();
  }
}

function noise(length) {
  const random = createRandom(length, "noise");
  const block = Buffer.from(Array.from({ length: 997 }, () => random.integer(0, 255)));
  return Buffer.alloc(length, block);
}
