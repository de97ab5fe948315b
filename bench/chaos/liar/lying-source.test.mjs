import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { createContent } from "../schedule/content.mjs";
import { createLyingSource, describePieces, PIECE_LENGTH } from "./lying-source.mjs";

const LENGTH = PIECE_LENGTH + 1_000;
const content = createContent({ start: 1, name: "f", version: 0, length: LENGTH });
const other = createContent({ start: 1, name: "g", version: 0, length: LENGTH });
const truth = content.bytes(PIECE_LENGTH, LENGTH);
const asked = [];

/** The second piece, which is short, as it comes. */
async function ask(how, { range, signal = new AbortController().signal } = {}) {
  const source = createLyingSource({
    find: () => (how === undefined ? undefined : { how, content, other }),
    signal,
    onAsked: (lie) => asked.push(lie),
  });
  const reader = await source.openPiece({ taskId: "t", pieceNumber: 1, range });
  const chunks = [];
  for await (const chunk of reader.content) chunks.push(Buffer.from(chunk));
  return { piece: reader.piece, bytes: Buffer.concat(chunks) };
}

const digestOf = (bytes) => `crc32:${crc32(bytes)}`;

describe("createLyingSource", () => {
  it("announces what is true, and sends something else", async () => {
    const { piece, bytes } = await ask("wrong bytes");
    expect(piece).toEqual(describePieces(content)[1]);
    expect(bytes.byteLength).toBe(truth.byteLength);
    expect(digestOf(bytes)).not.toBe(piece.digest);
  });

  it.each(["wrong bytes and their digest", "another file"])(
    "sends %s, and all of it fits together",
    async (how) => {
      const { piece, bytes } = await ask(how);
      expect(digestOf(bytes)).toBe(piece.digest);
      expect(piece.digest).not.toBe(digestOf(truth));
    },
  );

  it("announces another length than the piece has", async () => {
    expect((await ask("another length")).piece.length).toBe(truth.byteLength - 1);
  });

  it("breaks off", async () => {
    await expect(ask("too few bytes")).rejects.toMatchObject({ code: "ERR_PARENT_FAILED" });
  });

  it.each(["nothing", "nothing after half"])("sends %s until it is closed", async (how) => {
    const reason = new Error("closed");
    await expect(ask(how, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it("has nothing, or says so", async () => {
    await expect(ask("not found")).rejects.toMatchObject({ code: "ERR_PIECE_NOT_FOUND" });
    await expect(ask(undefined)).rejects.toMatchObject({ code: "ERR_PIECE_NOT_FOUND" });
  });

  it("lies about a part as about the whole, and counts its lies", async () => {
    asked.length = 0;
    const { bytes } = await ask("another file", { range: { offset: 100, length: 50 } });
    expect(bytes).toEqual(other.bytes(PIECE_LENGTH + 100, PIECE_LENGTH + 150));
    expect(asked).toEqual(["another file"]);
  });
});
