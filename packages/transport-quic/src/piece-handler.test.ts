import type { QuicConnection, QuicStream } from "@damselfly/quic";
import { DEFAULT_SERVER_LIMITS } from "@damselfly/transport";
import { createGate, type Gate, SyntheticSource, TASK_ID } from "@damselfly/transport/conformance";
import { encodePacket, Tag } from "@damselfly/vortex";
import { beforeEach, describe, expect, it } from "vitest";
import { PieceHandler } from "./piece-handler.ts";

const ASKED = { id: 1, taskId: TASK_ID, pieceNumber: 0 } as const;
const REQUEST = encodePacket({ ...ASKED, kind: "request", tag: Tag.DownloadPiece });

function rangeRequest(pieceNumber: number, offset: number, length: number): Uint8Array {
  const asked = { ...ASKED, pieceNumber, offset, length } as const;
  return encodePacket({ ...asked, kind: "range-request", tag: Tag.DownloadPieceRange });
}

/** A stream on which a request has come, and whose answer is only counted. */
class AskingStream {
  sentLength = 0;
  readonly closed = new Promise<undefined>(() => {});
  #unread: Uint8Array;

  constructor(request: Uint8Array = REQUEST) {
    this.#unread = request;
  }

  async read(into: Uint8Array): Promise<number> {
    const bytes = this.#unread.subarray(0, into.byteLength);
    into.set(bytes);
    this.#unread = this.#unread.subarray(bytes.byteLength);
    return bytes.byteLength;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.sentLength += bytes.byteLength;
  }

  async end(bytes: Uint8Array): Promise<void> {
    this.sentLength += bytes.byteLength;
  }
}

/** A connection whose handshake is over when its gate is open, as one that somebody repeats never is. */
function connect(handshake: Gate): QuicConnection {
  const remoteAddress = { ip: "10.0.0.1", port: 1 };
  const connection = { remoteAddress, isEarly: true, established: handshake.opened };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
  return connection as unknown as QuicConnection;
}

it.each([64, 65, 400])(
  "PieceHandler serves 64 of %i requests before their handshakes are over, and the others then",
  async (count) => {
    const held = createGate();
    const handshakes = createGate();
    const source = new SyntheticSource();
    source.add(0, { length: 1_000, arrival: held.opened });
    const handler = new PieceHandler({ source, limits: DEFAULT_SERVER_LIMITS });
    const streams = Array.from({ length: count }, () => new AskingStream());
    const serving = streams.map((stream) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
      handler.serve(stream as unknown as QuicStream, connect(handshakes)),
    );
    await source.until(() => source.openingCount === 64, "as many are served as may be");
    expect(handler.requestCount).toBe(64);
    handshakes.open();
    await source.until(() => source.openingCount === count, "the others are served, too");
    held.open();
    await Promise.all(serving);
    expect(streams.filter(({ sentLength }) => sentLength <= 1_000)).toEqual([]);
  },
);

describe("a PieceHandler that is closed between two ranges of a piece", () => {
  const LENGTH = 3_000;
  let source: SyntheticSource;
  let handler: PieceHandler;

  beforeEach(() => {
    source = new SyntheticSource();
    for (const number of [0, 1]) source.add(number, { length: LENGTH });
    handler = new PieceHandler({ source, limits: DEFAULT_SERVER_LIMITS });
  });

  /** @returns how many bytes the answer has */
  async function ask(pieceNumber: number, offset: number): Promise<number> {
    const handshake = createGate();
    handshake.open();
    const stream = new AskingStream(rangeRequest(pieceNumber, offset, 1_000));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
    await handler.serve(stream as unknown as QuicStream, connect(handshake));
    return stream.sentLength;
  }

  it("serves the rest of it, and nothing else, before it is finished", async () => {
    expect(await ask(0, 0)).toBeGreaterThan(1_000);
    let isFinished = false;
    const finished = handler.finish(60_000).then(() => (isFinished = true));
    expect(await ask(1, 0)).toBeLessThan(1_000);
    expect(await ask(0, 1_000)).toBeGreaterThan(1_000);
    expect(isFinished).toBe(false);
    expect(await ask(0, 2_000)).toBeGreaterThan(1_000);
    await finished;
    expect(source.requestCount).toBe(3);
  });

  it("waits no longer than it is told to", async () => {
    await ask(0, 0);
    await handler.finish(1);
    expect(await ask(0, 1_000)).toBeLessThan(1_000);
  });

  it("waits for nobody who has what he began with", async () => {
    for (const offset of [0, 1_000, 2_000]) await ask(0, offset);
    await ask(1, 2_000);
    let isFinished = false;
    void handler.finish(60_000).then(() => (isFinished = true));
    await new Promise(setImmediate);
    expect(isFinished).toBe(true);
  });
});
