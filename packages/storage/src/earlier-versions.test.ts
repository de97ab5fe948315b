import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { DIRECTORY_OF_VERSION_1 } from "../test-support/directory-of-version-1.ts";
import { collect, createFixture, inChunks, type StorageFixture } from "../test-support/fixture.ts";
import { decodeJournal } from "./journal-format.ts";

const { files, sealed, partial } = DIRECTORY_OF_VERSION_1;
let fixture: StorageFixture;

beforeEach(async () => {
  fixture = await createFixture();
  for (const [name, base64] of Object.entries(files)) {
    const path = fixture.path(name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, base64, "base64");
  }
});

afterEach(async () => {
  await fixture.remove();
});

function journalOf(taskId: string): Buffer {
  const name = `damselfly/content/${taskId.slice(0, 3)}/${taskId}.journal`;
  return Buffer.from(files[name] ?? "", "base64");
}

describe("a directory that version 1 of this storage wrote", () => {
  it("has journals that say what they said", () => {
    const { state, ...rest } = decodeJournal(journalOf(sealed.facts.taskId));
    expect(rest).toMatchObject({ end: "clean", later: [] });
    expect(state).toEqual({
      facts: sealed.facts,
      pieces: new Map(sealed.pieces.map((piece) => [piece.number, piece])),
      sealed: true,
      fingerprint: sealed.fingerprint,
    });
    const other = decodeJournal(journalOf(partial.facts.taskId));
    expect(other).toMatchObject({ end: "clean", later: [] });
    expect(other.state).toEqual({
      facts: partial.facts,
      pieces: new Map(partial.pieces.map((piece) => [piece.number, piece])),
      sealed: false,
      fingerprint: partial.fingerprint,
    });
  });

  it("is opened, with all that is in it", async () => {
    const storage = await fixture.open();
    const { tasks } = await storage.usage();
    expect(tasks.map(({ taskId, pinned }) => [taskId, pinned])).toEqual([
      [sealed.facts.taskId, true],
      [partial.facts.taskId, false],
    ]);

    const whole = await storage.openTask(sealed.facts.taskId);
    expect(whole?.facts).toEqual(sealed.facts);
    expect([...(whole?.pieces.values() ?? [])]).toEqual(sealed.pieces);
    expect(Buffer.from(await collect(whole!.read())).toString()).toBe(sealed.content);

    const begun = await storage.openTask(partial.facts.taskId);
    expect(begun?.facts).toEqual(partial.facts);
    expect([...(begun?.pieces.values() ?? [])]).toEqual(partial.pieces);
    for (const { number, offset, length } of partial.pieces) {
      const bytes = Buffer.from(await begun!.readPiece(number));
      expect(bytes.toString()).toBe(partial.content.slice(offset, offset + length));
    }
    expect(fixture.warnings).toEqual([]);
  });

  it("is gone on with", async () => {
    const storage = await fixture.open();
    const task = await storage.createTask(partial.facts);
    const content = Buffer.from(partial.content);
    for (let number = 0; number < task.pieceCount; number++) {
      const { offset, length } = task.bounds(number);
      const bytes = content.subarray(offset, offset + length);
      await task.writePiece(
        { number, trafficType: "BACK_TO_SOURCE", parentId: "" },
        inChunks(bytes),
      );
    }
    await task.seal();
    await fixture.reopen();
    const again = await fixture.storage.openTask(partial.facts.taskId);
    expect(again?.sealed).toBe(true);
    expect(Buffer.from(await collect(again!.read())).toString()).toBe(partial.content);
  });
});
