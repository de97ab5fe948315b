import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DECISIVE_LENGTH, recognizeProtocol } from "./spoken-protocol.ts";

const hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
const preface = [...Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")];
const request = (id: number, tag: number, length = 68): number[] => [id, tag, 0, 0, 0, length];

describe("recognizeProtocol", () => {
  it.each([
    ["a TLS hello", hello, "tls"],
    ["the HTTP/2 preface", preface, "http2"],
    ["a request for a piece", request(7, 0), "vortex"],
    ["a request for a persistent piece", request(7, 2), "vortex"],
    ["a request for a persistent cache piece", request(7, 4), "vortex"],
    ["a request whose id is TLS's first byte", request(0x16, 0), "vortex"],
    ["a request whose id is HTTP/2's first byte", request(0x50, 4), "vortex"],
    ["a request for a cache piece, which nobody serves", request(7, 6), "other"],
    ["an answer", request(7, 1), "other"],
    ["a request of another length", request(7, 0, 67), "other"],
    ["HTTP/1.1", [...Buffer.from("GET / HTTP/1.1\r\n")], "other"],
    ["another method that begins like the preface", [...Buffer.from("PROPFIND")], "other"],
    ["an alert", [0x15, 0x03, 0x03, 0, 2, 1], "other"],
  ])("knows %s", (_, bytes, protocol) => {
    expect(recognizeProtocol(Uint8Array.from(bytes))).toBe(protocol);
  });

  it("waits for what is too short to tell", () => {
    for (const bytes of [[], [0x16], [0x50], preface.slice(0, 3), request(0x50, 0).slice(0, 5)]) {
      expect(recognizeProtocol(Uint8Array.from(bytes))).toBeUndefined();
    }
  });

  it("decides within the decisive length, and does not change its mind", () => {
    const start = fc.constantFrom<number[]>([], hello, preface, request(3, 2));
    fc.assert(
      fc.property(start, fc.uint8Array({ minLength: DECISIVE_LENGTH }), (known, rest) => {
        const bytes = Uint8Array.from([...known.slice(0, DECISIVE_LENGTH), ...rest]);
        const decided = recognizeProtocol(bytes.subarray(0, DECISIVE_LENGTH));
        expect(decided).toBeDefined();
        expect(recognizeProtocol(bytes)).toBe(decided);
        for (let length = 0; length < DECISIVE_LENGTH; length += 1) {
          expect([undefined, decided]).toContain(recognizeProtocol(bytes.subarray(0, length)));
        }
      }),
    );
  });
});
