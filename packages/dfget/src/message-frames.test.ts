import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { frameMessage, readMessages } from "./message-frames.ts";

describe("readMessages", () => {
  it("yields the same messages however the bytes are cut", async () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 100 }));
    await fc.assert(
      fc.asyncProperty(messages, cuts, async (wanted, lengths) => {
        const bytes = Buffer.concat(wanted.map(frameMessage));
        expect((await collect(readMessages(cut(bytes, lengths)))).map(toArray)).toEqual(
          wanted.map(toArray),
        );
      }),
    );
  });

  it("refuses a compressed message, and an end in the middle of one", async () => {
    const frame = frameMessage(Buffer.from("message"));
    await expect(collect(readMessages(chunks(frame.subarray(0, -1))))).rejects.toThrow(
      "in the middle of a message",
    );
    frame[0] = 1;
    await expect(collect(readMessages(chunks(frame)))).rejects.toThrow("is compressed");
  });
});

async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

async function* cut(bytes: Uint8Array, lengths: Iterable<number>): AsyncGenerator<Uint8Array> {
  let offset = 0;
  for (const length of lengths) {
    if (offset >= bytes.byteLength) return;
    yield bytes.subarray(offset, offset + length);
    offset += length;
  }
}

async function collect(messages: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

function toArray(bytes: Uint8Array): number[] {
  return [...bytes];
}
