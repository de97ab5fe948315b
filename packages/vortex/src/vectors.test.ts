import { describe, expect, it } from "vitest";
import { encodePacket } from "./codec.ts";
import type { VortexErrorCode } from "./errors.ts";
import type { Packet } from "./packet.ts";
import { decodePacket, PacketDecoder } from "./packet-decoder.ts";
import { Tag } from "./tag.ts";

/** Bytes that vortex-protocol@6dd0549 (0.2.0) writes and reads. */
const VALID: readonly {
  readonly name: string;
  readonly hex: string;
  readonly packet: Packet;
  /** Where the value is skipped, it is not written again. */
  readonly encoded?: string;
}[] = [
  {
    name: "download piece",
    hex: "2a00000000443036343038666266323437646461636134373866386362393536356665353539316332386566643039393462386665613830613661383764333230336335636100000003",
    packet: {
      kind: "request",
      id: 42,
      tag: Tag.DownloadPiece,
      taskId: "06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca",
      pieceNumber: 3,
    },
  },
  {
    name: "piece content",
    hex: "2b010000007900000075000000030000000000c00000000000000000000d0000001063726333323a32353333353937343336000000383132372e302e302e312d6c6f63616c686f73742d30303030303030302d303030302d343030302d383030302d3030303030303030303030300100000000000000050000000064eb7300",
    packet: {
      kind: "content",
      id: 43,
      tag: Tag.PieceContent,
      pieceNumber: 3,
      offset: 12582912,
      length: 13,
      digest: "crc32:2533597436",
      parentId: "127.0.0.1-localhost-00000000-0000-4000-8000-000000000000",
      trafficType: 1,
      costSeconds: 5,
      createdAtSeconds: 1693152000,
    },
  },
  {
    name: "smallest piece content",
    hex: "0001000000310000002d000000000000000000000000000000000000000000000000000000000100000000000000000000000000000000",
    packet: {
      kind: "content",
      id: 0,
      tag: Tag.PieceContent,
      pieceNumber: 0,
      offset: 0,
      length: 0,
      digest: "",
      parentId: "",
      trafficType: 1,
      costSeconds: 0,
      createdAtSeconds: 0,
    },
  },
  {
    name: "error not found",
    hex: "2cff0000005302706965636520303634303866626632343764646163613437386638636239353635666535353931633238656664303939346238666561383061366138376433323033633563612d33206e6f7420666f756e64",
    packet: {
      kind: "error",
      id: 44,
      tag: Tag.Error,
      code: 2,
      message: "piece 06408fbf247ddaca478f8cb9565fe5591c28efd0994b8fea80a6a87d3203c5ca-3 not found",
    },
  },
  {
    name: "error internal",
    hex: "01ff000000020378",
    packet: { kind: "error", id: 1, tag: Tag.Error, code: 3, message: "x" },
  },
  {
    name: "error unknown, empty text",
    hex: "01ff0000000100",
    packet: { kind: "error", id: 1, tag: Tag.Error, code: 0, message: "" },
  },
  { name: "close", hex: "7ffe00000000", packet: { kind: "close", id: 127, tag: Tag.Close } },
  {
    name: "download persistent piece",
    hex: "000200000044616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161610000002a",
    packet: {
      kind: "request",
      id: 0,
      tag: Tag.DownloadPersistentPiece,
      taskId: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      pieceNumber: 42,
    },
  },
  {
    name: "download persistent cache piece",
    hex: "ff040000004430303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030ffffffff",
    packet: {
      kind: "request",
      id: 255,
      tag: Tag.DownloadPersistentCachePiece,
      taskId: "0000000000000000000000000000000000000000000000000000000000000000",
      pieceNumber: 4294967295,
    },
  },
  {
    name: "download cache piece",
    hex: "0706000000446666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666600000000",
    packet: {
      kind: "request",
      id: 7,
      tag: Tag.DownloadCachePiece,
      taskId: "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      pieceNumber: 0,
    },
  },
  {
    name: "piece content, long digest",
    hex: "10010000005f0000005b0000002a000000000000040000000000000008000000002061616161616161616161616161616161616161616161616161616161616161610000000e746573745f706172656e745f69640100000000000000050000000064eb7300",
    packet: {
      kind: "content",
      id: 16,
      tag: Tag.PieceContent,
      pieceNumber: 42,
      offset: 1024,
      length: 2048,
      digest: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      parentId: "test_parent_id",
      trafficType: 1,
      costSeconds: 5,
      createdAtSeconds: 1693152000,
    },
  },
  {
    name: "reserved tag 8",
    hex: "090800000003616263",
    encoded: "090800000000",
    packet: { kind: "reserved", id: 9, tag: 8 },
  },
];

const INVALID: readonly {
  readonly name: string;
  readonly hex: string;
  readonly code: VortexErrorCode;
}[] = [
  { name: "five bytes, less than a header", hex: "2a00000000", code: "ERR_TRUNCATED" },
  {
    name: "a request without its last byte",
    hex: "2a000000004430363430386662663234376464616361343738663863623935363566653535393163323865666430393934623866656138306136613837643332303363356361000000",
    code: "ERR_TRUNCATED",
  },
  {
    name: "a request of 67 bytes",
    hex: "2a000000004330363430386662663234376464616361343738663863623935363566653535393163323865666430393934623866656138306136613837643332303363356361000000",
    code: "ERR_VALUE_LENGTH",
  },
  {
    name: "a metadata length one too large",
    hex: "0001000000310000002e000000000000000000000000000000000000000000000000000000000100000000000000000000000000000000",
    code: "ERR_VALUE",
  },
  {
    name: "a digest of 4 GiB",
    hex: "2b010000007900000075000000030000000000c00000000000000000000dffffffff63726333323a32353333353937343336000000383132372e302e302e312d6c6f63616c686f73742d30303030303030302d303030302d343030302d383030302d3030303030303030303030300100000000000000050000000064eb7300",
    code: "ERR_VALUE",
  },
  { name: "an error without a code", hex: "01ff00000000", code: "ERR_VALUE_LENGTH" },
  { name: "an error whose text is not UTF-8", hex: "01ff0000000302fffe", code: "ERR_TEXT" },
];

describe("the bytes of the Rust implementation", () => {
  it.each(VALID)("decode and encode: $name", ({ hex, packet, encoded = hex }) => {
    expect(decodePacket(Buffer.from(hex, "hex"))).toEqual(packet);
    expect(Buffer.from(encodePacket(packet)).toString("hex")).toBe(encoded);
  });

  it.each(INVALID)("are refused: $name", ({ hex, code }) => {
    expect(() => decodePacket(Buffer.from(hex, "hex"))).toThrow(
      expect.objectContaining({ name: "VortexError", code }),
    );
  });

  it("leave the content behind a content packet untouched", () => {
    const content = Buffer.from("piece content");
    const packet = VALID.find(({ name }) => name === "piece content");
    const stream = Buffer.concat([Buffer.from(packet?.hex ?? "", "hex"), content]);
    const decoded = new PacketDecoder().push(stream);
    expect(decoded?.packet).toEqual(packet?.packet);
    expect(decoded?.rest).toEqual(content);
    expect(decoded?.rest.buffer).toBe(stream.buffer);
  });
});
