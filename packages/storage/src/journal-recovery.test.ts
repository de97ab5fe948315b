import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { contentOf, factsOf, PIECE_LENGTH, TASK_ID } from "../test-support/fixture.ts";
import { compactRecords, decodeJournal, encodeJournal, encodeRecord } from "./journal-format.ts";
import { recoverState } from "./journal-recovery.ts";
import type { PieceRecord, TaskFacts } from "./storage.ts";

const PIECE_COUNT = 5;
const FACTS = factsOf(contentOf(PIECE_COUNT * PIECE_LENGTH - 1));

function pieceRecord(number: number, digest: string): PieceRecord {
  const offset = number * PIECE_LENGTH;
  const length = Math.min(PIECE_LENGTH, FACTS.contentLength - offset);
  const from = { trafficType: "REMOTE_PEER" as const, parentId: "p", costMs: 1, createdAtMs: 2 };
  return { number, offset, length, digest, ...from };
}

/** A journal of all five pieces, as a seal leaves it. */
function wholeJournal(facts: TaskFacts = FACTS): Buffer {
  const numbers = Array.from({ length: PIECE_COUNT }, (_, number) => number);
  const pieces = new Map(numbers.map((number) => [number, pieceRecord(number, `crc32:${number}`)]));
  return encodeJournal(compactRecords({ facts, pieces, sealed: false, fingerprint: undefined }));
}

function recover(bytes: Buffer): { facts?: TaskFacts; digests: (readonly [number, string])[] } {
  const recovered = recoverState(decodeJournal(bytes), TASK_ID);
  return {
    ...(recovered && { facts: recovered.facts }),
    digests: [...(recovered?.pieces.values() ?? [])]
      .map(({ number, digest }) => [number, digest] as const)
      .toSorted(([a], [b]) => a - b),
  };
}

describe("recoverState", () => {
  it.each<[string, (bytes: Buffer, start: number, end: number) => Buffer]>([
    ["zeros", (bytes, start, end) => bytes.fill(0, start, end)],
    ["other bytes", (bytes, start, end) => bytes.fill("{", start, end)],
    [
      "nothing",
      (bytes, start, end) => Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]),
    ],
  ])("has every record that %s in the place of some bytes has left whole", (_name, damage) => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 600 }), (random, length) => {
        const bytes = wholeJournal();
        const start = random % bytes.byteLength;
        const end = Math.min(bytes.byteLength, start + length);
        const damaged = damage(wholeJournal(), start, end);
        const recovered = recover(damaged);
        const whole = Array.from({ length: PIECE_COUNT }, (_, number) => number).filter(
          (number) => {
            const piece = pieceRecord(number, `crc32:${number}`);
            return damaged.includes(encodeRecord({ type: "piece", piece }));
          },
        );
        // The facts are there twice, at both ends of the pieces.
        expect(recovered.facts).toEqual(FACTS);
        expect(recovered.digests).toEqual(whole.map((number) => [number, `crc32:${number}`]));
      }),
      { numRuns: 300 },
    );
  });

  it("believes what was read in order before what was found beyond the damage", () => {
    const first = encodeRecord({ type: "piece", piece: pieceRecord(0, "crc32:1") });
    const second = encodeRecord({ type: "piece", piece: pieceRecord(0, "crc32:2") });
    const start = encodeJournal([{ type: "facts", facts: FACTS }]);
    const bytes = Buffer.concat([start, first, Buffer.from("damage"), second]);
    expect(recover(bytes).digests).toEqual([[0, "crc32:1"]]);
  });

  it("has nothing of beyond the damage when that is about another version of the file", () => {
    const start = encodeJournal([
      { type: "facts", facts: FACTS },
      { type: "piece", piece: pieceRecord(0, "crc32:0") },
    ]);
    const other = wholeJournal({ ...FACTS, contentVersion: "v2" });
    const bytes = Buffer.concat([start, Buffer.alloc(50), other]);
    expect(recover(bytes)).toEqual({ facts: FACTS, digests: [[0, "crc32:0"]] });
    // Nor when nobody knows which of the two is meant.
    const beheaded = Buffer.concat([Buffer.alloc(50), wholeJournal(), other]);
    expect(recover(beheaded).digests).toEqual([]);
  });

  it("passes over the facts of another task, as a disk may leave its remains there", () => {
    const other = { ...FACTS, taskId: "0".repeat(64), contentVersion: "v7" };
    const start = encodeJournal([{ type: "facts", facts: FACTS }]);
    const strange = encodeRecord({ type: "facts", facts: other });
    const good = encodeRecord({ type: "piece", piece: pieceRecord(3, "crc32:3") });
    const bytes = Buffer.concat([start, Buffer.alloc(50), strange, good]);
    expect(recover(bytes)).toEqual({ facts: FACTS, digests: [[3, "crc32:3"]] });
  });

  it("has the last facts that were taken over", () => {
    const adopted = { ...FACTS, url: "http://origin.invalid/?token=new" };
    const start = encodeJournal([{ type: "facts", facts: FACTS }]);
    const later = encodeRecord({ type: "facts", facts: adopted });
    expect(recover(Buffer.concat([start, Buffer.alloc(50), later])).facts).toEqual(adopted);
  });

  it("knows nothing without facts", () => {
    const piece = encodeRecord({ type: "piece", piece: pieceRecord(0, "crc32:0") });
    expect(recover(Buffer.concat([Buffer.alloc(50, "x"), piece]))).toEqual({ digests: [] });
  });
});
