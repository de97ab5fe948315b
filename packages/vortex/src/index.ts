export { encodePacket } from "./codec.ts";
export { VortexError, type VortexErrorCode } from "./errors.ts";
export {
  type ClosePacket,
  type ContentPacket,
  ErrorCode,
  type ErrorPacket,
  type Packet,
  type RangeRequestPacket,
  type RequestPacket,
  type ReservedPacket,
} from "./packet.ts";
export { decodePacket, type DecodedPacket, PacketDecoder } from "./packet-decoder.ts";
export {
  CONTENT_TAG_OF,
  type ContentTag,
  ERROR_TEXT_LENGTH_MAX,
  METADATA_LENGTH_MAX,
  type RequestTag,
  SKIPPED_LENGTH_MAX,
  Tag,
  TASK_ID_LENGTH,
} from "./tag.ts";
