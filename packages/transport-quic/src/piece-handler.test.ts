import type { QuicConnection, QuicStream } from "@damselfly/quic";
import { DEFAULT_SERVER_LIMITS } from "@damselfly/transport";
import { createGate, type Gate, SyntheticSource, TASK_ID } from "@damselfly/transport/conformance";
import { encodePacket, Tag } from "@damselfly/vortex";
import { expect, it } from "vitest";
import { PieceHandler } from "./piece-handler.ts";

const REQUEST = encodePacket({
  kind: "request",
  id: 1,
  tag: Tag.DownloadPiece,
  taskId: TASK_ID,
  pieceNumber: 0,
});

/** A stream on which a request has come, and whose answer is only counted. */
class AskingStream {
  sentLength = 0;
  readonly closed = new Promise<undefined>(() => {});
  #unread: Uint8Array = REQUEST;

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
