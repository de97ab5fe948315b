// Which of several contents a file holds, byte by byte.
import { open } from "node:fs/promises";

const PART_LENGTH = 1 << 20;
/** How finely a file is described that holds none of them. */
const GRAIN_LENGTH = 64 * 1024;
const RUNS_MAX = 12;

/**
 * @param {string} path
 * @param {{ content: object, from: number, end: number }[]} candidates - parts of contents, see content.mjs, that the file may be
 * @param {{ isPrefix?: boolean, known?: { content: object, from: number, end: number }[] }} options - `isPrefix`: the file may end early; `known`:
 *   what it may not be, but would be called by its name
 * @returns `{ matches, description }`: the candidates that it is; where it is none, what it is instead, in words
 */
export async function compareContent(path, candidates, { isPrefix = false, known = [] } = {}) {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    let alive = candidates.filter(({ from, end }) =>
      isPrefix ? size <= end - from : size === end - from,
    );
    const buffer = Buffer.allocUnsafe(PART_LENGTH);
    for (let offset = 0; offset < size && alive.length > 0;) {
      const bytes = await readAt(file, buffer, offset);
      alive = alive.filter((candidate) => holds(candidate, offset, bytes));
      offset += bytes.byteLength;
    }
    if (alive.length > 0) return { matches: alive };
    return { matches: [], description: await describe(file, size, { candidates, known }) };
  } finally {
    await file.close();
  }
}

async function readAt(file, buffer, offset) {
  const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, offset);
  if (bytesRead === 0) throw new Error(`Cannot compare: the file ended at ${offset}`);
  return buffer.subarray(0, bytesRead);
}

function holds({ content, from, end }, offset, bytes) {
  if (from + offset + bytes.byteLength > end) return false;
  let position = 0;
  for (const part of content.parts(from + offset, from + offset + bytes.byteLength)) {
    if (Buffer.compare(part, bytes.subarray(position, position + part.byteLength)) !== 0)
      return false;
    position += part.byteLength;
  }
  return true;
}

/** `0-4194303 is version 0, 4194304-5000000 is version 1`, for whoever has to find out how that came about. */
async function describe(file, size, { candidates, known }) {
  const lengths = candidates.map(({ from, end }) => end - from);
  const runs = [];
  const buffer = Buffer.allocUnsafe(GRAIN_LENGTH);
  for (let offset = 0; offset < size;) {
    const bytes = await readAt(file, buffer, offset);
    const holder = [...candidates, ...known].find((candidate) => holds(candidate, offset, bytes));
    const name = nameOf(holder, bytes);
    const last = runs.at(-1);
    if (last?.name === name) last.end = offset + bytes.byteLength;
    else runs.push({ name, start: offset, end: offset + bytes.byteLength });
    offset += bytes.byteLength;
  }
  const words = runs
    .slice(0, RUNS_MAX)
    .map(({ start, end, name }) => `${start}-${end - 1} ${name}`);
  const more = runs.length > RUNS_MAX ? [`and ${runs.length - RUNS_MAX} more`] : [];
  const wanted = [...new Set(lengths)].join(" or ");
  return [`${size} bytes, expected ${wanted}`, ...words, ...more].join(", ");
}

function nameOf(holder, bytes) {
  if (holder !== undefined) return `is version ${holder.content.version}`;
  return bytes.every((byte) => byte === 0) ? "is zeros" : "is nobody's";
}
