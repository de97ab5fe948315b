import { loadService } from "@damselfly/rpc";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { type DaemonRequest, decodeResponse, encodeRequest } from "./message-codec.ts";

/** As the package that knows every message has it, from the .proto files. */
const method = loadService("dfdaemon.v2.DfdaemonDownload").methods.get("downloadTask");
if (method === undefined) throw new Error("there is no such method");

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const length = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const flags = {
  disableBackToSource: fc.boolean(),
  needPieceContent: fc.boolean(),
  forceHardLink: fc.boolean(),
  overwrite: fc.boolean(),
};
const request: fc.Arbitrary<DaemonRequest> = fc.record(
  {
    url: text,
    digest: text,
    range: fc.record({ start: length, length }),
    type: fc.constantFrom("STANDARD" as const, "CACHE" as const),
    tag: text,
    application: text,
    priority: fc.constantFrom("LEVEL0" as const, "LEVEL6" as const),
    filteredQueryParams: fc.array(text),
    requestHeader: fc.dictionary(text, text),
    pieceLength: length,
    outputPath: text,
    timeout: fc.record({ seconds: length, nanos: fc.nat(999_999_999) }),
    certificateChain: fc.array(fc.uint8Array()),
    contentForCalculatingTaskId: text,
    schedulingPolicy: fc.constantFrom("AUTO" as const, "ALWAYS" as const),
    extension: fc.record(
      { insecureSkipVerify: fc.boolean(), revalidate: fc.boolean(), uid: fc.nat(2 ** 32 - 2) },
      { requiredKeys: [] },
    ),
    ...flags,
  },
  { requiredKeys: [] },
);

const piece = fc.record(
  {
    number: fc.nat(),
    offset: length,
    length,
    parentId: text,
    digest: text,
    content: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    trafficType: fc.constantFrom("BACK_TO_SOURCE", "REMOTE_PEER", "LOCAL_PEER"),
    cost: fc.record({ seconds: fc.nat(), nanos: fc.nat(999_999_999) }),
    createdAt: fc.record({ seconds: fc.nat(), nanos: fc.nat(999_999_999) }),
  },
  { requiredKeys: ["number", "offset", "length"] },
);
const response = fc.record(
  {
    hostId: text,
    taskId: text,
    peerId: text,
    downloadTaskStartedResponse: fc.record({
      contentLength: length,
      responseHeader: fc.dictionary(text, text),
      pieces: fc.array(piece, { maxLength: 5 }),
      isFinished: fc.boolean(),
      extension: fc.record({ atomicOutput: fc.boolean() }),
    }),
  },
  { requiredKeys: ["taskId", "peerId"] },
);

describe("encodeRequest", () => {
  it("says what the .proto files say", () => {
    fc.assert(
      fc.property(request, (download) => {
        const ours = method.requestDeserialize(Buffer.from(encodeRequest(download)));
        const theirs = method.requestDeserialize(method.requestSerialize({ download }));
        expect(ours).toEqual(theirs);
      }),
    );
  });
});

describe("decodeResponse", () => {
  it("reads what the .proto files say, and passes over the rest", () => {
    fc.assert(
      fc.property(response, (message) => {
        const decoded = decodeResponse(method.responseSerialize(message));
        const { taskId, peerId, downloadTaskStartedResponse: started } = message;
        expect(decoded).toMatchObject({ taskId, peerId });
        expect(decoded.downloadTaskStartedResponse?.contentLength).toBe(started?.contentLength);
        expect(decoded.downloadTaskStartedResponse?.pieces).toEqual(started?.pieces.map(known));
        expect(decoded.downloadTaskStartedResponse?.atomicOutput).toBe(
          started?.extension.atomicOutput,
        );
      }),
    );
  });

  it("reads a piece with its content, of any length", () => {
    fc.assert(
      fc.property(piece, (value) => {
        const message = { downloadPieceFinishedResponse: { piece: value } };
        const decoded = decodeResponse(method.responseSerialize(message));
        expect(decoded.downloadPieceFinishedResponse?.piece).toEqual(known(value));
      }),
    );
  });

  it("reads what is waited for", () => {
    const wait = fc.record(
      { reason: text, description: text, waitedMs: length, boundMs: length },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(wait, (value) => {
        const decoded = decodeResponse(method.responseSerialize({ wait: value }));
        const nothing = { reason: "", description: "", waitedMs: 0, boundMs: 0 };
        expect(decoded.wait).toEqual({ ...nothing, ...value });
      }),
    );
  });

  it("refuses bytes that are no message, and never hangs on them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeResponse(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 1000 },
    );
    expect(() => decodeResponse(Uint8Array.of(0x12, 0x7f, 0x41))).toThrow(
      "it has 3 bytes, expected 129",
    );
  });
});

/** What dfget has use for. */
function known({ digest: _digest, cost: _cost, createdAt: _at, ...rest }: Piece): Partial<Piece> {
  return rest;
}

type Piece = typeof piece extends fc.Arbitrary<infer Value> ? Value : never;
