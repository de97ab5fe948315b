import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { VortexError } from "./errors.ts";
import { HEADER_LENGTH, type Header } from "./header.ts";
import type { ContentPacket, ErrorPacket, Packet } from "./packet.ts";
import { encodeStrongDigest, readStrongDigest } from "./strong-digest.ts";
import { ERROR_TEXT_LENGTH_MAX, METADATA_LENGTH_MAX, TAG_ROWS, TASK_ID_LENGTH } from "./tag.ts";

/**
 * The bytes of a packet, header included. The content that follows a content packet is sent after them as it is.
 *
 * The message of an error packet is cut to `ERROR_TEXT_LENGTH_MAX` bytes.
 *
 * @throws {RangeError} if a field does not fit: the task id is not 64 bytes, a number is out of range, the texts are
 * longer than a decoder takes
 */
export function encodePacket(packet: Packet): Uint8Array {
  switch (packet.kind) {
    case "request":
      return encodeHead(packet, 68)
        .bytes(taskIdBytes(packet.taskId))
        .u32(packet.pieceNumber, "piece number")
        .finish();
    case "range-request":
      return encodeHead(packet, 84)
        .bytes(taskIdBytes(packet.taskId))
        .u32(packet.pieceNumber, "piece number")
        .u64(packet.offset, "offset")
        .u64(packet.length, "length")
        .finish();
    case "content":
      return encodeContent(packet);
    case "error":
      return encodeError(packet);
    case "reserved":
      assertReserved(packet.tag);
      break;
    case "close":
      break;
  }
  return encodeHead(packet, 0).finish();
}

/**
 * @param value all of the packet's value
 * @throws {VortexError} `ERR_VALUE`, `ERR_TEXT`
 */
export function decodeValue(header: Header, value: DataView): Packet {
  const { id, row } = header;
  if (row === undefined) return { kind: "reserved", id, tag: header.tag };
  const reader = new ByteReader(value);
  switch (row.kind) {
    case "request":
      return {
        kind: "request",
        id,
        tag: row.tag,
        taskId: reader.text(TASK_ID_LENGTH, "task id"),
        pieceNumber: reader.u32("piece number"),
      };
    case "range-request":
      return {
        kind: "range-request",
        id,
        tag: row.tag,
        taskId: reader.text(TASK_ID_LENGTH, "task id"),
        pieceNumber: reader.u32("piece number"),
        offset: reader.u64("offset"),
        length: reader.u64("length"),
      };
    case "content":
      return { kind: "content", id, tag: row.tag, ...decodeMetadata(reader) };
    case "error":
      return {
        kind: "error",
        id,
        tag: row.tag,
        code: reader.u8("error code"),
        message: reader.text(reader.remaining, "error message"),
      };
    case "close":
      break;
  }
  return { kind: "close", id, tag: row.tag };
}

function encodeContent(packet: ContentPacket): Uint8Array {
  const digest = UTF8.encode(packet.digest);
  const parentId = UTF8.encode(packet.parentId);
  const strongDigest = encodeStrongDigest(packet.strongDigest);
  const metadataLength = 45 + digest.byteLength + parentId.byteLength + strongDigest.byteLength;
  if (metadataLength > METADATA_LENGTH_MAX) {
    throw new RangeError(
      `Cannot encode metadata: it has ${metadataLength} bytes, limit is ${METADATA_LENGTH_MAX}`,
    );
  }
  assertTimestamp(packet.createdAtSeconds, (message) => new RangeError(`Cannot encode ${message}`));
  return encodeHead(packet, 4 + metadataLength)
    .u32(metadataLength, "metadata length")
    .u32(packet.pieceNumber, "piece number")
    .u64(packet.offset, "offset")
    .u64(packet.length, "length")
    .u32(digest.byteLength, "digest length")
    .bytes(digest)
    .u32(parentId.byteLength, "parent id length")
    .bytes(parentId)
    .u8(packet.trafficType, "traffic type")
    .u64(packet.costSeconds, "cost")
    .i64(packet.createdAtSeconds, "creation time")
    .bytes(strongDigest)
    .finish();
}

function decodeMetadata(reader: ByteReader): Omit<ContentPacket, "kind" | "id" | "tag"> {
  const metadataLength = reader.u32("metadata length");
  if (metadataLength !== reader.remaining) {
    throw new VortexError(
      "ERR_VALUE",
      `Cannot decode metadata: its length is ${metadataLength}, but ${reader.remaining} bytes follow`,
    );
  }
  const metadata = {
    pieceNumber: reader.u32("piece number"),
    offset: reader.u64("offset"),
    length: reader.u64("length"),
    digest: reader.text(reader.u32("digest length"), "digest"),
    parentId: reader.text(reader.u32("parent id length"), "parent id"),
    trafficType: reader.u8("traffic type"),
    costSeconds: reader.u64("cost"),
    createdAtSeconds: reader.i64("creation time"),
  };
  assertTimestamp(
    metadata.createdAtSeconds,
    (message) => new VortexError("ERR_VALUE", `Cannot decode ${message}`),
  );
  const strongDigest = readStrongDigest(reader);
  return strongDigest === undefined ? metadata : { ...metadata, strongDigest };
}

function encodeError(packet: ErrorPacket): Uint8Array {
  const message = new Uint8Array(ERROR_TEXT_LENGTH_MAX);
  // Stops before a character that does not fit as a whole.
  const { written } = UTF8.encodeInto(packet.message, message);
  return encodeHead(packet, 1 + written)
    .u8(packet.code, "error code")
    .bytes(message.subarray(0, written))
    .finish();
}

function encodeHead(
  { id, tag }: { readonly id: number; readonly tag: number },
  valueLength: number,
): ByteWriter {
  return new ByteWriter(HEADER_LENGTH + valueLength)
    .u8(id, "packet id")
    .u8(tag, "tag")
    .u32(valueLength, "value length");
}

function taskIdBytes(taskId: string): Uint8Array {
  const bytes = UTF8.encode(taskId);
  if (bytes.byteLength === TASK_ID_LENGTH) return bytes;
  throw new RangeError(
    `Cannot encode task id: it has ${bytes.byteLength} bytes, expected ${TASK_ID_LENGTH}`,
  );
}

function assertReserved(tag: number): void {
  if (!TAG_ROWS.has(tag)) return;
  throw new RangeError(`Cannot encode reserved packet: tag ${tag} has a meaning`);
}

const UTF8 = new TextEncoder();

/** What the Rust implementation takes: chrono's range of years, -262143 to 262142, in Unix seconds. */
const TIMESTAMP_MIN = -8_334_601_228_800;
const TIMESTAMP_MAX = 8_210_266_876_799;

function assertTimestamp(seconds: number, fault: (message: string) => Error): void {
  if (seconds >= TIMESTAMP_MIN && seconds <= TIMESTAMP_MAX) return;
  throw fault(`creation time: ${seconds} s is out of the range of dates`);
}
