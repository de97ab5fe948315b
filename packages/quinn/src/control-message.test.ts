import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ControlDecoder, type ControlMessage, encodeMessage } from "./control-message.ts";

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const code = fc.maxSafeNat();
const stream = fc.record({ index: u32, isDiallers: fc.boolean() });
const message = fc.oneof<fc.Arbitrary<ControlMessage>[]>(
  fc.record({
    kind: fc.constant("hello"),
    alpn: fc.string({ maxLength: 60 }),
    streamCountMax: u32,
    idleTimeoutMs: u32,
  }),
  fc.record({ kind: fc.constantFrom("reset", "stop"), stream, code }),
  fc.record({ kind: fc.constant("received"), stream }),
  fc.record({ kind: fc.constant("ping") }),
  fc.record({
    kind: fc.constant("close"),
    isApplication: fc.boolean(),
    code,
    text: fc.string({ maxLength: 256 }),
  }),
);

describe("control messages", () => {
  it("come out as they went in, however the bytes are cut", () => {
    const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 16 }));
    fc.assert(
      fc.property(fc.array(message), cuts, (messages, lengths) => {
        const bytes = Buffer.concat(messages.map(encodeMessage));
        const decoder = new ControlDecoder();
        const decoded: ControlMessage[] = [];
        for (let offset = 0; offset < bytes.byteLength;) {
          const length = lengths.next().value ?? 1;
          decoded.push(...decoder.push(bytes.subarray(offset, offset + length)));
          offset += length;
        }
        expect(decoded).toEqual(messages);
      }),
    );
  });

  it("are refused with a RangeError where bytes are none", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        try {
          new ControlDecoder().push(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
    );
    expect(() => new ControlDecoder().push(Buffer.from("GET / HTTP/1.1\r\n"))).toThrow(RangeError);
    const tls = Buffer.from("\0DFQ2aaaabbbbc");
    expect(() => new ControlDecoder().push(tls)).toThrow("it greets in another language");
  });
});
