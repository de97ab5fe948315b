import * as fc from "fast-check";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { loadService } from "./load-service.ts";
import protobuf from "protobufjs";
import { countParts, loadShapes, shapeOfType } from "./message-parts.ts";

const directory = fileURLToPath(new URL("../../../proto", import.meta.url));
const shapes = loadShapes("scheduler.v2.Scheduler", {
  directory,
  file: "scheduler/v2/scheduler.proto",
});
const shape = shapes.get("AnnouncePeer")!.request;
const method = loadService("scheduler.v2.Scheduler").methods.get("announcePeer")!;

function lengthDelimited(field: number, bytes: Uint8Array): Buffer {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
  return Buffer.concat([
    Buffer.from([...varint(field * 8 + 2), ...varint(bytes.byteLength)]),
    bytes,
  ]);
}

const count = (bytes: Uint8Array, max = 1_000_000): number => countParts(bytes, shape, max);

/** 0 of what is refused. */
const countOrNone = (bytes: Uint8Array): number => {
  try {
    return count(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(RangeError);
    return 0;
  }
};

describe("countParts", () => {
  it("counts the messages within a message, whatever is in them, and nothing else", () => {
    const piece = { number: 1, offset: 2, length: 3, digest: "crc32:4", cost: {}, createdAt: {} };
    const parent = {
      id: "p",
      state: "Running",
      task: { id: "t", pieces: [piece, piece] },
      host: {},
    };
    const bytes = method.requestSerialize({
      hostId: "h",
      taskId: "t",
      peerId: "\n\0\n\0", // looks like two messages
      reschedulePeerRequest: { candidateParents: [parent, parent], description: "no more" },
    });
    // The request itself; of each parent itself, its task, its host; of each piece itself and two times.
    expect(count(bytes)).toBe(1 + 2 * (3 + 2 * 3));
  });

  it("counts a map's entries", () => {
    const download = { url: "http://o/f", requestHeader: { one: "1", two: "2" } };
    const bytes = method.requestSerialize({ registerPeerRequest: { download } });
    expect(count(bytes)).toBe(4);
  });

  it("stops once there are too many", () => {
    const many = Buffer.alloc(2_000_000);
    for (let at = 0; at < many.byteLength; at += 2) many[at] = 0x0a; // candidate_parents, empty
    const bytes = lengthDelimited(7, many);
    expect(count(bytes)).toBe(1_000_001);
    expect(count(bytes, 10)).toBe(11);
  });

  it("ends, and counts no more than there can be, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(countOrNone(bytes)).toBeLessThanOrEqual((bytes.byteLength + 1) / 2);
      }),
    );
    let nested: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 5_000; depth += 1) nested = lengthDelimited(5, nested);
    expect(count(lengthDelimited(7, lengthDelimited(1, nested)))).toBeLessThan(110);
  });
});

describe("a message that the decoder reads otherwise than it is written", () => {
  const parents = (countOf: number): Buffer =>
    Buffer.concat(Array.from({ length: countOf }, () => lengthDelimited(1, Buffer.alloc(0))));
  const { requestDeserialize } = method;

  it.each([
    [
      "an empty group before them",
      Buffer.concat([Buffer.from([0xa3, 0x06, 0xa4, 0x06]), lengthDelimited(7, parents(600_000))]),
    ],
    [
      "a length of more bits than there are",
      Buffer.concat([
        Buffer.from([0x3a, 0x80, 0x9f, 0xc9, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        parents(600_000),
      ]),
    ],
    [
      "a tag of more bits",
      Buffer.concat([
        Buffer.from([0xba, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        lengthDelimited(7, parents(600_000)).subarray(1),
      ]),
    ],
    [
      "a number in which they are hidden",
      // host_id is text; a field of numbers written as bytes would hide what is in it.
      Buffer.concat([Buffer.from([0x38]), lengthDelimited(7, parents(600_000)).subarray(1)]),
    ],
  ])("is refused where it is long: %s", (_, bytes) => {
    expect(() => requestDeserialize(bytes)).toThrow(/^Cannot decode AnnouncePeerRequest: /);
  });

  it("is never another message to the counter than to the decoder", () => {
    const type = protobuf
      .parse(
        `syntax = "proto3";
      message Odd {
        uint32 narrow = 1; uint64 wide = 2; repeated uint32 list = 3; string text = 4; fixed64 fixed = 5; sint32 zigzag = 6;
        repeated Odd odds = 7; map<string, Odd> map = 8; bool flag = 9; float real = 10;
      }`,
      )
      .root.resolveAll()
      .lookupType("Odd");
    const odd = shapeOfType(type);
    const partsOf = (message: protobuf.Message): number => {
      const odds: unknown = Reflect.get(message, "odds");
      const map: unknown = Reflect.get(message, "map");
      const all = [...Object.values(Object(odds)), ...Object.values(Object(map))];
      return all.reduce<number>(
        (sum, each) => sum + 1 + (each instanceof protobuf.Message ? partsOf(each) : 0),
        0,
      );
    };
    // Bytes that are tags, lengths and ends of numbers more often than others are.
    const byte = fc.oneof(
      fc.constantFrom(0x3a, 0x42, 0x08, 0x1a, 0x18, 0x22, 0x80, 0xff, 0, 1, 2, 4, 0x0a, 0x12),
      fc.nat(255),
    );
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 60 }), (bytes) => {
        const encoded = Uint8Array.from(bytes);
        let decoded: protobuf.Message;
        try {
          decoded = type.decode(encoded);
        } catch {
          return; // costs nothing any more
        }
        let counted: number;
        try {
          counted = countParts(encoded, odd, 1_000);
        } catch {
          return; // is not decoded
        }
        // A later entry of a map takes the place of an earlier one.
        expect(partsOf(decoded)).toBeLessThanOrEqual(counted);
      }),
      { numRuns: 20_000 },
    );
  });
});

describe("a message with more messages in it than any has", () => {
  it.each([
    ["a scheduler's request", "scheduler.v2.Scheduler", "announcePeer", "requestDeserialize", 7, 1],
    ["a scheduler's answer", "scheduler.v2.Scheduler", "announcePeer", "responseDeserialize", 2, 1],
    [
      "a child's request",
      "dfdaemon.v2.DfdaemonUpload",
      "syncPieces",
      "requestDeserialize",
      1000,
      2,
    ],
    [
      "a parent's answer",
      "dfdaemon.v2.DfdaemonUpload",
      "syncPieces",
      "responseDeserialize",
      1000,
      2,
    ],
  ] as const)("is not decoded: %s", (_, service, name, how, outer, inner) => {
    const decode = loadService(service).methods.get(name)![how];
    const within = (countOf: number): Buffer =>
      lengthDelimited(
        outer,
        Buffer.concat(
          Array.from({ length: countOf }, () => lengthDelimited(inner, Buffer.alloc(0))),
        ),
      );
    expect(() => decode(within(100))).not.toThrow();
    expect(() => decode(within(600_000))).toThrow(/^Cannot decode \w+: more than \d+ messages/);
  });

  it("is decoded where it is just long", () => {
    const { requestSerialize, requestDeserialize } = loadService(
      "dfdaemon.v2.DfdaemonUpload",
    ).methods.get("syncPieces")!;
    const interestedPieceNumbers = Array.from({ length: 1_048_576 }, (_each, number) => number);
    const bytes = requestSerialize({ hostId: "h", taskId: "t", interestedPieceNumbers });
    expect(requestDeserialize(bytes)).toMatchObject({ hostId: "h" });
    expect(bytes.byteLength).toBeLessThan(4 * 1024 * 1024);
  });
});
