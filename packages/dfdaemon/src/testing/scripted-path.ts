/*
 * One parent behind a path that a test scripts: each protocol has a round trip, a rate, and a way to fail. Time is the test's
 * (fake timers); nothing is sent.
 */
import {
  createPieceDownload,
  type Downloader,
  type ParentAddress,
  type PieceDownload,
  type PieceRequest,
  type Protocol,
  TransportError,
} from "@damselfly/transport";

/** How a protocol does on the path; may change while a test runs. */
export interface Lane {
  /** From the request to the announcement, on a new connection and on one that stands. Milliseconds. */
  connectMs: number;
  announceMs: number;
  /** Bytes a millisecond, for each piece. */
  rate: number;
  /** `swallows`: nothing ever comes back, and the dial is given up after `giveUpMs`. */
  state: "works" | "refuses" | "swallows";
  giveUpMs: number;
  /** Stops sending at this byte of a piece, or breaks off there. */
  stallsAt: number;
  breaksAt: number;
}

const LAN: Lane = {
  connectMs: 5,
  announceMs: 1,
  rate: 100_000,
  state: "works",
  giveUpMs: 2_000,
  stallsAt: Infinity,
  breaksAt: Infinity,
};

const CHUNK_MS = 20;

export class ScriptedPath {
  readonly lanes: Record<Protocol, Lane>;
  /** Requests for whole pieces or their rests, in order: `tcp 3`, `quic 3 from 65536`; and `quic 3?` for a byte of it. */
  readonly asked: string[] = [];
  /** Bytes that arrived, wanted or not. */
  readonly sentBytes: Record<Protocol, number> = { tcp: 0, quic: 0, grpc: 0 };
  /** Requests that run. */
  runningCount = 0;
  readonly #connected = new Set<Protocol>();
  readonly pieceLength: number;

  constructor(lanes: Partial<Record<Protocol, Partial<Lane>>>, pieceLength: number) {
    this.lanes = {
      tcp: { ...LAN, ...lanes.tcp },
      quic: { ...LAN, ...lanes.quic },
      grpc: { ...LAN, ...lanes.grpc },
    };
    this.pieceLength = pieceLength;
  }

  parent(...protocols: readonly Protocol[]): ParentAddress {
    const offered = protocols.length === 0 ? ["tcp", "quic", "grpc"] : protocols;
    return {
      hostId: "parent",
      ip: "192.0.2.7",
      ports: {
        ...(offered.includes("tcp") ? { tcp: 4005 } : {}),
        ...(offered.includes("quic") ? { quic: [4006] } : {}),
        ...(offered.includes("grpc") ? { grpc: 4007 } : {}),
      },
    };
  }

  downloader(protocol: Protocol): Downloader {
    return {
      protocol,
      downloadPiece: (parent, request, { signal } = {}) =>
        this.#download(protocol, {
          parent,
          request,
          signal: signal ?? new AbortController().signal,
        }),
      async [Symbol.asyncDispose]() {},
    };
  }

  async #download(
    protocol: Protocol,
    about: {
      readonly parent: ParentAddress;
      readonly request: PieceRequest;
      readonly signal: AbortSignal;
    },
  ): Promise<PieceDownload> {
    const { request, signal, parent } = about;
    const lane = this.lanes[protocol];
    this.asked.push(nameOf(protocol, request));
    this.runningCount += 1;
    const close = (): void => {
      this.runningCount -= 1;
    };
    try {
      const unreachable = (why: string): Error => new TransportError("ERR_PARENT_UNREACHABLE", why);
      if (lane.state === "refuses") throw unreachable("connection refused");
      if (lane.state === "swallows") {
        await sleep(lane.giveUpMs, signal);
        throw unreachable(`no connection within ${lane.giveUpMs} ms`);
      }
      await sleep(this.#connected.has(protocol) ? lane.announceMs : lane.connectMs, signal);
      this.#connected.add(protocol);
    } catch (error) {
      close();
      throw error;
    }
    const { pieceNumber } = request;
    const { offset, length } = request.range ?? { offset: 0, length: this.pieceLength };
    const piece = {
      number: pieceNumber,
      offset: pieceNumber * this.pieceLength,
      length: this.pieceLength,
      digest: `crc32:${pieceNumber}`,
    };
    return createPieceDownload({
      piece,
      length,
      hostId: parent.hostId,
      chunks: this.#send(protocol, { pieceNumber, offset, length, signal }),
      stallMs: 15_000,
      signal,
      close,
    });
  }

  async *#send(
    protocol: Protocol,
    what: {
      readonly pieceNumber: number;
      readonly offset: number;
      readonly length: number;
      readonly signal: AbortSignal;
    },
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { pieceNumber, offset, length, signal } = what;
    const end = offset + length;
    for (let position = offset; position < end;) {
      const lane = this.lanes[protocol];
      await sleep(CHUNK_MS, signal);
      if (position >= lane.stallsAt) await sleep(2 ** 30, signal);
      if (position >= lane.breaksAt) {
        throw new TransportError("ERR_PIECE_TRUNCATED", `it ended at ${position}`);
      }
      const stop = Math.min(end, ...[lane.stallsAt, lane.breaksAt].filter((at) => at > position));
      const sent = Math.min(Math.max(1, Math.round(lane.rate * CHUNK_MS)), stop - position);
      this.sentBytes[protocol] += sent;
      yield contentOf(pieceNumber, position, sent);
      position += sent;
    }
  }
}

/** Bytes of a piece of a scripted path. */
export function contentOf(pieceNumber: number, offset: number, length: number): Uint8Array {
  const start = (pieceNumber * 31 + offset) % 251;
  if (start + length > pattern.byteLength) {
    pattern = Uint8Array.from({ length: start + length }, (_, index) => index % 251);
  }
  return pattern.subarray(start, start + length);
}

let pattern = new Uint8Array(0);

function nameOf(protocol: Protocol, { pieceNumber, range }: PieceRequest): string {
  if (range === undefined) return `${protocol} ${pieceNumber}`;
  if (range.length === 1) return `${protocol} ${pieceNumber}?`;
  return `${protocol} ${pieceNumber} from ${range.offset}`;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      },
      Math.min(ms, 2 ** 31 - 1),
    );
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
