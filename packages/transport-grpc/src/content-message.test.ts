import { loadService } from "@damselfly/rpc";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { serializeResponse } from "./content-message.ts";

const downloadPiece = loadService("damselfly.v1.PieceTransfer").methods.get("downloadPiece");
if (downloadPiece === undefined) throw new Error("PieceTransfer lacks DownloadPiece");
const { responseSerialize } = downloadPiece;

describe("serializeResponse", () => {
  it("writes content exactly as protobufjs does", () => {
    const lengths = [0, 1, 127, 128, 16_383, 16_384, 262_144]; // around the lengths of the varint
    const contents = fc.oneof(fc.uint8Array(), fc.constantFrom(...lengths).map(bytesOf));
    fc.assert(
      fc.property(contents, fc.nat(10), (content, start) => {
        const message = serializeResponse({ content }, responseSerialize);
        const target = Buffer.alloc(start + message.byteLength);
        expect(message.copy(target, start)).toBe(message.byteLength);
        expect(target.subarray(start).equals(responseSerialize({ content }))).toBe(true);
      }),
    );
  });

  it("leaves everything else to protobufjs", () => {
    const response = { metadata: { number: 1, offset: 2, length: 3, digest: "crc32:4" } };
    expect(serializeResponse(response, responseSerialize)).toEqual(responseSerialize(response));
  });
});

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index * 31);
}
