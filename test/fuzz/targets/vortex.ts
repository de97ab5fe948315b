import { isDeepStrictEqual } from "node:util";
import {
  CONTENT_TAG_OF,
  decodePacket,
  encodePacket,
  ErrorCode,
  type Packet,
  PacketDecoder,
  Tag,
  VortexError,
  type VortexErrorCode,
} from "@damselfly/vortex";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";
import { mutate } from "../engine/mutate.ts";
import type { Random } from "../engine/random.ts";

/**
 * The decoder of Vortex. An input is one byte that says how the stream is cut, then the stream. Whatever it is, the same packets and the
 * same error must come of it in one piece, cut anywhere and byte by byte; and what was decoded must encode to the bytes it came from, or
 * to ones that mean the same where something was skipped.
 */
export const vortex: FuzzTarget = {
  name: "vortex",
  summary: "Vortex streams: the same however cut, what is decoded encodes to the same bytes",
  lengthMax: 512,
  groupLength: 256,
  isConcurrent: false,
  async open(): Promise<OpenTarget> {
    return {
      examples: EXAMPLES,
      mutate: mutateStream,
      run,
      async [Symbol.asyncDispose]() {},
    };
  },
};

const CODES: ReadonlySet<VortexErrorCode> = new Set<VortexErrorCode>([
  "ERR_VALUE_LENGTH",
  "ERR_VALUE",
  "ERR_TEXT",
  "ERR_TRUNCATED",
  "ERR_SURPLUS",
]);

function run(input: Uint8Array): void {
  const cutLength = (input[0] ?? 0) + 1;
  const stream = input.subarray(1);
  const whole = decodeStream([stream]);
  // Byte by byte costs as much as all else.
  for (const length of cutLength % 4 === 0 ? [cutLength, 1] : [cutLength]) {
    const cut = decodeStream(cutEvery(stream, length));
    assertHolds(
      isDeepStrictEqual(cut, whole),
      () => `cut every ${length} bytes it is ${show(cut)}, in one piece ${show(whole)}`,
    );
  }
  let position = 0;
  for (const { packet, length } of whole.packets) {
    assertRoundTrip(packet, stream.subarray(position, position + length));
    position += length;
  }
  assertHolds(position <= stream.byteLength, "more was decoded than there is");
  assertHolds(
    whole.failure !== undefined || whole.isAtBoundary === (position === stream.byteLength),
    "it does not know whether the stream ended inside a packet",
  );
}

interface Decoded {
  readonly packets: readonly { readonly packet: Packet; readonly length: number }[];
  /** Code and message. */
  readonly failure: string | undefined;
  readonly isAtBoundary: boolean;
}

/** Content behind content packets is taken for the next packet: it may be anything. */
function decodeStream(chunks: readonly Uint8Array[]): Decoded {
  const decoder = new PacketDecoder();
  const packets: { packet: Packet; length: number }[] = [];
  let takenLength = 0;
  try {
    for (const chunk of chunks) {
      // A chunk is the decoder's only until it returns.
      const lent = Uint8Array.from(chunk);
      let rest: Uint8Array = lent;
      for (;;) {
        const decoded = decoder.push(rest);
        takenLength += rest.byteLength - (decoded?.rest.byteLength ?? 0);
        if (decoded === undefined) break;
        ({ rest } = decoded);
        packets.push({ packet: decoded.packet, length: takenLength });
        takenLength = 0;
        if (rest.byteLength === 0) break;
      }
      lent.fill(0xaa);
    }
    return { packets, failure: undefined, isAtBoundary: decoder.atBoundary };
  } catch (error) {
    if (!(error instanceof VortexError)) throw error;
    assertHolds(CODES.has(error.code), () => `the code ${error.code} is not one of those listed`);
    return { packets, failure: `${error.code} ${error.message}`, isAtBoundary: false };
  }
}

function assertRoundTrip(packet: Packet, bytes: Uint8Array): void {
  const alone = decodePacket(bytes);
  assertHolds(isDeepStrictEqual(alone, packet), () => `alone it is ${show(alone)}`);
  const encoded = encodePacket(packet);
  const again = decodePacket(encoded);
  assertHolds(
    isDeepStrictEqual(again, packet),
    () => `${show(packet)} comes back as ${show(again)}`,
  );
  const isSkipped = packet.kind === "close" || packet.kind === "reserved";
  // Later fields of metadata are skipped, too.
  const isShorter = packet.kind === "content" && encoded.byteLength < bytes.byteLength;
  if (isSkipped || isShorter) return;
  assertHolds(Buffer.compare(encoded, bytes) === 0, () => `${show(packet)} encodes to other bytes`);
}

function cutEvery(bytes: Uint8Array, length: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; at += length)
    chunks.push(bytes.subarray(at, at + length));
  return chunks;
}

function show(value: unknown): string {
  return JSON.stringify(value).slice(0, 500);
}

/** As any bytes are; and then mostly a length that fits them again, for only those are looked into. */
function mutateStream(
  input: Uint8Array,
  random: Random,
  { other }: { readonly other: Uint8Array },
): Uint8Array {
  const bytes = Buffer.from(mutate(input, random, { other, dictionary: [], lengthMax: 512 }));
  if (bytes.byteLength < 7) return bytes;
  const start = 1; // behind the byte that says how to cut
  if (random.oneIn(2)) bytes[start + 1] = random.pick(TAGS);
  const tag = bytes[start + 1] ?? 0;
  const valueLength = FIXED_LENGTHS.get(tag) ?? bytes.byteLength - start - 6;
  if (!random.oneIn(8)) bytes.writeUInt32BE(valueLength, start + 2);
  const isContent = Object.values<number>(CONTENT_TAG_OF).includes(tag);
  if (isContent && bytes.byteLength >= start + 10 && !random.oneIn(8)) {
    bytes.writeUInt32BE(Math.max(0, valueLength - 4), start + 6);
  }
  return bytes;
}

const TAGS: readonly number[] = [...Object.values(Tag), 8, 63, 65, 128, 253];
const FIXED_LENGTHS: ReadonlyMap<number, number> = new Map([
  [Tag.DownloadPiece, 68],
  [Tag.DownloadPersistentPiece, 68],
  [Tag.DownloadPersistentCachePiece, 68],
  [Tag.DownloadCachePiece, 68],
  [Tag.DownloadPieceRange, 84],
]);

const TASK_ID = "0123456789abcdef".repeat(4);
const EXAMPLES: readonly Uint8Array[] = (
  [
    { kind: "request", id: 1, tag: Tag.DownloadPiece, taskId: TASK_ID, pieceNumber: 3 },
    {
      kind: "range-request",
      id: 2,
      tag: Tag.DownloadPieceRange,
      taskId: TASK_ID,
      pieceNumber: 3,
      offset: 65_536,
      length: 2 ** 40,
    },
    {
      kind: "content",
      id: 3,
      tag: Tag.PieceContent,
      pieceNumber: 3,
      offset: 12_582_912,
      length: 4_194_304,
      digest: "crc32:2533597436",
      parentId: "127.0.0.1-node",
      trafficType: 1,
      costSeconds: 2,
      createdAtSeconds: 1_693_152_000,
    },
    { kind: "error", id: 4, tag: Tag.Error, code: ErrorCode.NotFound, message: "no such piece: é" },
    { kind: "close", id: 5, tag: Tag.Close },
    { kind: "reserved", id: 6, tag: 100 },
  ] satisfies Packet[]
).map((packet) => Buffer.concat([Buffer.of(12), encodePacket(packet)]));
