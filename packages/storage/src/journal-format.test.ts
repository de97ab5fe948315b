import { crc32 } from "node:zlib";

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { contentOf, factsOf, PIECE_LENGTH } from "../test-support/fixture.ts";
import {
  compactRecords,
  decodeJournal,
  encodeJournal,
  encodeRecord,
  type JournalRecord,
} from "./journal-format.ts";
import type { PieceRecord, TaskFacts } from "./storage.ts";

const PIECE_COUNT = 5;
const FACTS = factsOf(contentOf(PIECE_COUNT * PIECE_LENGTH - 1));
const FINGERPRINT = { size: 4999n, mtimeNs: 1n, ctimeNs: 2n ** 60n, ino: 7n };

function pieceRecord(number: number, digest: string): PieceRecord {
  const offset = number * PIECE_LENGTH;
  return {
    number,
    offset,
    length: Math.min(PIECE_LENGTH, FACTS.contentLength - offset),
    digest,
    trafficType: "REMOTE_PEER",
    parentId: "10.0.0.1-node",
    costMs: 12,
    createdAtMs: 34,
  };
}

const anyRecord: fc.Arbitrary<JournalRecord> = fc.oneof(
  fc.tuple(fc.nat(PIECE_COUNT - 1), fc.nat()).map(([number, value]) => ({
    type: "piece" as const,
    piece: pieceRecord(number, `crc32:${value}`),
  })),
  fc.nat(PIECE_COUNT - 1).map((number) => ({ type: "withdrawn" as const, number })),
  fc.constant({ type: "fingerprint" as const, fingerprint: FINGERPRINT }),
);
const anyJournal = fc
  .array(anyRecord, { maxLength: 12 })
  .map((records): JournalRecord[] => [{ type: "facts", facts: FACTS }, ...records]);

describe("decodeJournal", () => {
  it("says the same of a journal and of its compact form", () => {
    fc.assert(
      fc.property(anyJournal, (records) => {
        const { state, end } = decodeJournal(encodeJournal(records));
        expect(end).toBe("clean");
        const compact = encodeJournal(compactRecords({ ...state, facts: FACTS }));
        expect(decodeJournal(compact).state).toEqual(state);
      }),
    );
  });

  it("reads a journal that was torn at any byte as a prefix of its records", () => {
    fc.assert(
      fc.property(anyJournal, fc.nat(), (records, random) => {
        const bytes = encodeJournal(records);
        const length = random % bytes.byteLength;
        const decoded = decodeJournal(bytes.subarray(0, length));

        const whole = prefixes(records).filter((prefix) => prefix.byteLength <= length).length;
        expect(decoded.end).toBe(decoded.validLength === length && length > 0 ? "clean" : "torn");
        if (whole > 0) {
          const expected = decodeJournal(encodeJournal(records.slice(0, whole - 1)));
          expect(decoded.state).toEqual(expected.state);
          expect(decoded.validLength).toBe(expected.validLength);
        }
      }),
    );
  });

  it("takes a tail of zeros, as a power failure leaves it, for a torn one", () => {
    const bytes = encodeJournal([{ type: "facts", facts: FACTS }]);
    const padded = Buffer.concat([bytes, Buffer.alloc(4096)]);
    expect(decodeJournal(padded)).toMatchObject({ end: "torn", validLength: bytes.byteLength });
    expect(decodeJournal(Buffer.alloc(4096)).end).toBe("torn");
  });

  it("never invents a piece, whatever happens to the bytes", () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(anyJournal, damage, (records, flips) => {
        const bytes = encodeJournal(records);
        for (const [position, mask] of flips) {
          const index = position % bytes.byteLength;
          bytes[index] = (bytes[index] ?? 0) ^ mask;
        }
        const written = new Set(
          records.flatMap((record) =>
            record.type === "piece" ? [JSON.stringify(record.piece)] : [],
          ),
        );
        for (const piece of decodeJournal(bytes).state.pieces.values()) {
          expect(written).toContain(JSON.stringify(piece));
        }
      }),
      { numRuns: 500 },
    );
  });

  it("never throws at random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
        decodeJournal(Buffer.from(tail));
        decodeJournal(Buffer.concat([encodeJournal([{ type: "facts", facts: FACTS }]), tail]));
      }),
    );
  });

  it("tells damage in the middle from a torn tail", () => {
    const records: JournalRecord[] = [
      { type: "facts", facts: FACTS },
      { type: "piece", piece: pieceRecord(0, "crc32:1") },
      { type: "piece", piece: pieceRecord(1, "crc32:2") },
    ];
    const bytes = encodeJournal(records);
    const second = prefixes(records)[1]?.byteLength ?? 0;
    bytes[second + 20] = (bytes[second + 20] ?? 0) ^ 1;
    expect(decodeJournal(bytes)).toMatchObject({
      end: "damaged",
      validLength: second,
      later: records.slice(2),
    });
  });

  it("tells a record that claims to be longer than the journal from a torn tail, too", () => {
    const start = encodeJournal([{ type: "facts", facts: FACTS }]);
    const piece: JournalRecord = { type: "piece", piece: pieceRecord(0, "crc32:1") };
    const claiming = encodeRecord(piece);
    claiming.writeUInt32BE(2 ** 31, 0);
    expect(decodeJournal(Buffer.concat([start, claiming]))).toMatchObject({ end: "torn" });
    const bytes = Buffer.concat([start, claiming, encodeRecord(piece)]);
    expect(decodeJournal(bytes)).toMatchObject({ end: "damaged", later: [piece] });
  });

  it("does not touch what a newer version wrote beyond damage, either", () => {
    const asNewer = encodeRecord({ type: "withdrawn", number: 0 });
    asNewer.writeUInt8(200, 8);
    asNewer.writeUInt32BE(crc32(asNewer.subarray(8)), 4);
    const start = encodeJournal([{ type: "facts", facts: FACTS }]);
    const bytes = Buffer.concat([start, Buffer.alloc(10), asNewer]);
    expect(decodeJournal(bytes)).toMatchObject({ end: "newer", later: [] });
  });

  it("does not touch what a newer version wrote", () => {
    const asNewer = encodeRecord({ type: "withdrawn", number: 0 });
    asNewer.writeUInt8(200, 8);
    asNewer.writeUInt32BE(crc32(asNewer.subarray(8)), 4);
    const start = encodeJournal([{ type: "facts", facts: FACTS }]);
    expect(decodeJournal(Buffer.concat([start, asNewer])).end).toBe("newer");

    start.writeUInt32BE(2, 8);
    start.writeUInt32BE(crc32(start.subarray(0, 12)), 12);
    expect(decodeJournal(start).end).toBe("newer");
  });

  it.each<[string, JournalRecord[]]>([
    ["pieces without facts", [{ type: "piece", piece: pieceRecord(0, "crc32:1") }]],
    [
      "a piece that the task does not have",
      [
        { type: "facts", facts: FACTS },
        { type: "piece", piece: { ...pieceRecord(0, "crc32:1"), number: 9 } },
      ],
    ],
    [
      "a seal before the last piece",
      [
        { type: "facts", facts: FACTS },
        { type: "sealed", fingerprint: FINGERPRINT },
      ],
    ],
    [
      "facts of another content",
      [
        { type: "facts", facts: FACTS },
        { type: "facts", facts: { ...FACTS, contentVersion: "v2" } },
      ],
    ],
    [
      "digests that are none",
      // oxlint-disable-next-line no-unsafe-type-assertion -- as damage may leave them
      [{ type: "facts", facts: { ...FACTS, contentDigests: [7] } as unknown as TaskFacts }],
    ],
  ])("takes %s for damage", (_name, records) => {
    expect(decodeJournal(encodeJournal(records)).end).toBe("damaged");
  });

  it("reads facts with the digests of the content, and those of earlier versions, which have none", () => {
    const facts = { ...FACTS, contentDigests: ["sha256:00"] };
    for (const written of [facts, FACTS]) {
      const { state, end } = decodeJournal(encodeJournal([{ type: "facts", facts: written }]));
      expect(end).toBe("clean");
      expect(state.facts).toEqual(written);
    }
  });

  it("forgets seal and fingerprint once a piece was written after them", () => {
    const small = factsOf(contentOf(10));
    const piece = { ...pieceRecord(0, "crc32:1"), length: 10 };
    const records: JournalRecord[] = [
      { type: "facts", facts: small },
      { type: "piece", piece },
      { type: "sealed", fingerprint: FINGERPRINT },
    ];
    expect(decodeJournal(encodeJournal(records)).state).toMatchObject({
      sealed: true,
      fingerprint: FINGERPRINT,
    });
    const later = encodeJournal([...records, { type: "piece", piece }]);
    expect(decodeJournal(later).state).toMatchObject({ sealed: false, fingerprint: undefined });
  });
});

/** The journal after its header, after its first record, and so on. */
function prefixes(records: readonly JournalRecord[]): Buffer[] {
  return [0, ...records.map((_, index) => index + 1)].map((count) =>
    encodeJournal(records.slice(0, count)),
  );
}
