import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodePacket } from "./codec.ts";
import { VortexError } from "./errors.ts";
import type { ContentPacket, Packet } from "./packet.ts";
import { decodePacket, PacketDecoder } from "./packet-decoder.ts";
import { ERROR_TEXT_LENGTH_MAX, METADATA_LENGTH_MAX, SKIPPED_LENGTH_MAX, Tag } from "./tag.ts";

describe("PacketDecoder", () => {
  it("yields the same packets however the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 5 }), cuts, (packets, lengths) => {
        const stream = Buffer.concat(packets.map(encodePacket));
        expect(decodeStream(cut(stream, lengths))).toEqual(packets);
      }),
    );
  });

  it("hands back exactly the content behind a content packet, however the stream is cut", () => {
    fc.assert(
      fc.property(contentPacket, fc.uint8Array(), cuts, (announcement, content, lengths) => {
        const decoder = new PacketDecoder();
        const received: Uint8Array[] = [];
        let announced: Packet | undefined;
        for (const chunk of cut(Buffer.concat([encodePacket(announcement), content]), lengths)) {
          if (announced !== undefined) {
            received.push(chunk);
            continue;
          }
          const decoded = decoder.push(chunk);
          if (decoded === undefined) continue;
          announced = decoded.packet;
          received.push(decoded.rest);
        }
        expect(announced).toEqual(announcement);
        expect(Buffer.concat(received)).toEqual(Buffer.from(content));
      }),
    );
  });

  it("decodes random bytes or throws a VortexError, the same one however they are cut", () => {
    fc.assert(
      fc.property(almostPacket, cuts, (bytes, lengths) => {
        const outcome = outcomeOf([bytes]);
        expect(outcomeOf(cut(bytes, lengths))).toEqual(outcome);
      }),
      { numRuns: 1000 },
    );
  });

  it("does not keep the chunk it was given", () => {
    const chunk = encodePacket({ kind: "error", id: 1, tag: Tag.Error, code: 2, message: "gone" });
    const decoder = new PacketDecoder();
    const first = chunk.slice(0, 9);
    expect(decoder.push(first)).toBeUndefined();
    first.fill(0);
    expect(decoder.push(chunk.subarray(9))?.packet).toMatchObject({ message: "gone" });
  });

  it("knows whether the stream ended inside a packet", () => {
    const bytes = encodePacket({ kind: "close", id: 9, tag: Tag.Close });
    const decoder = new PacketDecoder();
    expect(decoder.atBoundary).toBe(true);
    decoder.push(bytes.subarray(0, 1));
    expect(decoder.atBoundary).toBe(false);
    expect(decoder.push(bytes.subarray(1))).toBeDefined();
    expect(decoder.atBoundary).toBe(true);
    decoder.push(encodePacket(REQUEST).subarray(0, 6));
    expect(decoder.atBoundary).toBe(false);
  });

  it.each([
    { name: "a request", tag: Tag.DownloadPiece, length: 69 },
    { name: "a range request", tag: Tag.DownloadPieceRange, length: 68 },
    { name: "metadata", tag: Tag.PieceContent, length: 4 + METADATA_LENGTH_MAX + 1 },
    { name: "metadata without room for its fields", tag: Tag.PieceContent, length: 48 },
    { name: "an error", tag: Tag.Error, length: 1 + ERROR_TEXT_LENGTH_MAX + 1 },
    { name: "a close", tag: Tag.Close, length: SKIPPED_LENGTH_MAX + 1 },
    { name: "a reserved packet", tag: 100, length: 0xffff_ffff },
  ])("refuses the length of $name before its value arrives, and ever after", ({ tag, length }) => {
    const header = Buffer.alloc(6);
    header.writeUInt8(tag, 1);
    header.writeUInt32BE(length, 2);
    const decoder = new PacketDecoder();
    expect(() => decoder.push(header)).toThrow(
      expect.objectContaining({ code: "ERR_VALUE_LENGTH" }),
    );
    expect(() => decoder.push(header)).toThrow(VortexError);
  });

  it("takes metadata, error text and skipped values up to their limits", () => {
    const digest = "d".repeat(METADATA_LENGTH_MAX - 45);
    const content = { ...CONTENT, digest, parentId: "" };
    expect(decodePacket(encodePacket(content))).toEqual(content);

    const message = "m".repeat(ERROR_TEXT_LENGTH_MAX);
    const error = { kind: "error", id: 0, tag: Tag.Error, code: 3, message } as const;
    expect(decodePacket(encodePacket(error))).toEqual(error);

    const reserved = Buffer.alloc(6 + SKIPPED_LENGTH_MAX);
    reserved.writeUInt8(8, 1);
    reserved.writeUInt32BE(SKIPPED_LENGTH_MAX, 2);
    expect(decodePacket(reserved)).toEqual({ kind: "reserved", id: 0, tag: 8 });
  });

  it("skips metadata fields that it does not know", () => {
    expect(decodePacket(lengthened(CONTENT, Buffer.from("later")))).toEqual(CONTENT);
  });

  it("carries a strong digest where the metadata leaves room, with whatever is behind it", () => {
    const strongDigest = `sha256:${"0123456789abcdef".repeat(4)}`;
    const content = { ...CONTENT, strongDigest };
    expect(decodePacket(encodePacket(content))).toEqual(content);
    expect(decodePacket(lengthened(content, Buffer.from("later")))).toEqual(content);
    for (const digest of ["", "sha256:", "crc32:1", strongDigest.toUpperCase()]) {
      expect(() => encodePacket({ ...CONTENT, strongDigest: digest })).toThrow(
        "Cannot encode strong digest",
      );
    }
  });

  it("takes nothing else for a strong digest", () => {
    const extra = encodePacket({ ...CONTENT, strongDigest: `sha256:${"ab".repeat(32)}` }).slice(
      -37,
    );
    expect(decodePacket(lengthened(CONTENT, extra))).toHaveProperty("strongDigest");
    expect(decodePacket(lengthened(CONTENT, extra.slice(0, -1)))).toEqual(CONTENT);
    for (const position of [0, 3, 4]) {
      const other = extra.slice();
      other[position]! ^= 1;
      expect(decodePacket(lengthened(CONTENT, other))).toEqual(CONTENT);
    }
  });

  it.each([
    { field: "offset", position: 14 },
    { field: "length", position: 22 },
    { field: "cost", position: 39 },
  ])("refuses a $field beyond 2^53 - 1 rather than round it", ({ position }) => {
    const bytes = Buffer.from(encodePacket({ ...CONTENT, digest: "", parentId: "" }));
    bytes.writeBigUInt64BE(2n ** 53n, position);
    expect(() => decodePacket(bytes)).toThrow("is beyond 2^53 - 1");
    bytes.writeBigUInt64BE(2n ** 53n - 1n, position);
    expect(decodePacket(bytes)).toMatchObject({ kind: "content" });
  });

  it("refuses a creation time that is no date", () => {
    const bytes = Buffer.from(encodePacket({ ...CONTENT, digest: "", parentId: "" }));
    bytes.writeBigInt64BE(8_210_266_876_800n, 47);
    expect(() => decodePacket(bytes)).toThrow(expect.objectContaining({ code: "ERR_VALUE" }));
    bytes.writeBigInt64BE(-8_334_601_228_800n, 47);
    expect(decodePacket(bytes)).toMatchObject({ createdAtSeconds: -8_334_601_228_800 });
  });
});

describe("decodePacket", () => {
  it("refuses bytes behind the packet", () => {
    const bytes = Buffer.concat([encodePacket(REQUEST), Buffer.from([0])]);
    expect(() => decodePacket(bytes)).toThrow(expect.objectContaining({ code: "ERR_SURPLUS" }));
  });
});

describe("encodePacket", () => {
  it.each([
    { name: "a task id of 63 bytes", packet: { taskId: "a".repeat(63) } },
    { name: "a task id of 64 characters and more bytes", packet: { taskId: "ä".repeat(64) } },
    { name: "a negative piece number", packet: { pieceNumber: -1 } },
    { name: "a piece number over 32 bits", packet: { pieceNumber: 2 ** 32 } },
    { name: "a fractional piece number", packet: { pieceNumber: 0.5 } },
    { name: "a packet id over 8 bits", packet: { id: 256 } },
  ])("refuses $name", ({ packet }) => {
    expect(() => encodePacket({ ...REQUEST, ...packet })).toThrow(RangeError);
  });

  it.each([
    { name: "an unsafe offset", packet: { offset: 2 ** 53 } },
    { name: "a negative length", packet: { length: -1 } },
    { name: "a creation time that is no date", packet: { createdAtSeconds: Number.NaN } },
    { name: "texts over the limit", packet: { digest: "d".repeat(METADATA_LENGTH_MAX) } },
  ])("refuses $name", ({ packet }) => {
    expect(() => encodePacket({ ...CONTENT, ...packet })).toThrow(RangeError);
  });

  it("refuses to pass off a known tag as reserved", () => {
    expect(() => encodePacket({ kind: "reserved", id: 0, tag: Tag.Error })).toThrow(RangeError);
  });

  it("cuts a long error message at a character", () => {
    const message = "ä".repeat(ERROR_TEXT_LENGTH_MAX);
    const bytes = encodePacket({
      kind: "error",
      id: 0,
      tag: Tag.Error,
      code: 3,
      message: `x${message}`,
    });
    expect(decodePacket(bytes)).toMatchObject({
      message: `x${"ä".repeat(ERROR_TEXT_LENGTH_MAX / 2 - 1)}`,
    });
  });
});

const REQUEST = {
  kind: "request",
  id: 7,
  tag: Tag.DownloadPiece,
  taskId: "0123456789abcdef".repeat(4),
  pieceNumber: 3,
} as const;

const CONTENT_KEYS = [
  "kind",
  "id",
  "tag",
  "pieceNumber",
  "offset",
  "length",
  "digest",
  "parentId",
  "trafficType",
  "costSeconds",
  "createdAtSeconds",
] as const;

const CONTENT: ContentPacket = {
  kind: "content",
  id: 8,
  tag: Tag.PieceContent,
  pieceNumber: 3,
  offset: 12_582_912,
  length: 4_194_304,
  digest: "crc32:1475635037",
  parentId: "10.0.0.1-seed",
  trafficType: 1,
  costSeconds: 2,
  createdAtSeconds: 1_693_152_000,
};

/** With bytes behind all fields that there are. */
function lengthened(content: ContentPacket, extra: Uint8Array): Buffer {
  const bytes = Buffer.concat([encodePacket(content), extra]);
  bytes.writeUInt32BE(bytes.byteLength - 6, 2);
  bytes.writeUInt32BE(bytes.byteLength - 10, 6);
  return bytes;
}

const id = fc.nat(255);
const u32 = fc.nat(0xffff_ffff);
const u64 = fc.maxSafeNat();
const text = fc.string({ unit: "binary", maxLength: 40 });
const taskId = fc.string({
  unit: fc.constantFrom(..."0123456789abcdef".split("")),
  minLength: 64,
  maxLength: 64,
});

const contentPacket: fc.Arbitrary<ContentPacket> = fc.record(
  {
    kind: fc.constant("content"),
    id,
    tag: fc.constantFrom(1, 3, 5, 7),
    pieceNumber: u32,
    offset: u64,
    length: u64,
    digest: text,
    strongDigest: taskId.map((hex) => `sha256:${hex}`),
    parentId: text,
    trafficType: fc.nat(255),
    costSeconds: u64,
    createdAtSeconds: fc.integer({ min: -8_334_601_228_800, max: 8_210_266_876_799 }),
  },
  { noNullPrototype: true, requiredKeys: [...CONTENT_KEYS] },
);

const packet: fc.Arbitrary<Packet> = fc.oneof(
  fc.record({
    kind: fc.constant("request"),
    id,
    tag: fc.constantFrom(0, 2, 4, 6),
    taskId,
    pieceNumber: u32,
  }),
  fc.record({
    kind: fc.constant("range-request"),
    id,
    tag: fc.constant(64),
    taskId,
    pieceNumber: u32,
    offset: u64,
    length: u64,
  }),
  contentPacket,
  fc.record({
    kind: fc.constant("error"),
    id,
    tag: fc.constant(255),
    code: fc.nat(255),
    message: text,
  }),
  fc.record({ kind: fc.constant("close"), id, tag: fc.constant(254) }),
  fc.record({
    kind: fc.constant("reserved"),
    id,
    tag: fc.integer({ min: 8, max: 253 }).filter((tag) => tag !== 64),
  }),
);

/** Noise, and packets with a few bytes changed: noise alone seldom gets past the header. */
const almostPacket: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .tuple(packet, fc.array(fc.tuple(fc.nat(150), fc.nat(255)), { maxLength: 3 }), fc.nat(20))
    .map(([original, changes, lost]) => {
      const bytes = encodePacket(original);
      for (const [position, value] of changes) bytes[position % bytes.byteLength] = value;
      return bytes.subarray(0, bytes.byteLength - (lost > 10 ? 0 : lost));
    }),
);

const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 40 }));

function* cut(bytes: Uint8Array, lengths: Iterator<number>): Generator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength;) {
    const length: number = lengths.next().value ?? 1;
    yield bytes.subarray(start, start + length);
    start += length;
  }
}

function decodeStream(chunks: Iterable<Uint8Array>): Packet[] {
  const decoder = new PacketDecoder();
  const packets: Packet[] = [];
  for (const chunk of chunks) {
    for (let rest = chunk; rest.byteLength > 0;) {
      const decoded = decoder.push(rest);
      if (decoded === undefined) break;
      packets.push(decoded.packet);
      rest = decoded.rest;
    }
  }
  return packets;
}

/** The packets that a stream holds, or the fault in it. */
function outcomeOf(chunks: Iterable<Uint8Array>): unknown {
  try {
    return decodeStream(chunks);
  } catch (error) {
    if (!(error instanceof VortexError)) throw error;
    return { code: error.code, message: error.message };
  }
}
