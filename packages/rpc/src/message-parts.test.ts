import * as fc from "fast-check";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { loadService } from "./load-service.ts";
import { countParts, loadShapes } from "./message-parts.ts";

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
        expect(count(bytes)).toBeLessThanOrEqual((bytes.byteLength + 1) / 2);
      }),
    );
    let nested: Buffer = Buffer.alloc(0);
    for (let depth = 0; depth < 5_000; depth += 1) nested = lengthDelimited(5, nested);
    expect(count(lengthDelimited(7, lengthDelimited(1, nested)))).toBeLessThan(110);
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
