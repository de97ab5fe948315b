import { assertByteRange, clipByteRange } from "./byte-range.ts";
import { TransportError } from "./errors.ts";
import { createPieceDownload } from "./piece-download.ts";
import { toRefusal } from "./refusal.ts";
import {
  DEFAULT_DOWNLOADER_TIMEOUTS,
  DEFAULT_SERVER_LIMITS,
  type Downloader,
  type DownloaderTimeouts,
  type ParentAddress,
  type PieceDownload,
  type PieceReader,
  type PieceRequest,
  type PieceServer,
  type PieceSource,
  type Protocol,
  type ServerAddress,
  type ServerLimits,
} from "./transport.ts";
import { within } from "./within.ts";

/** A network inside this process: its downloaders reach its servers, and nothing else. */
export interface MemoryTransport {
  servePieces(options: {
    readonly source: PieceSource;
    readonly limits?: Partial<ServerLimits> | undefined;
    /** How long disposing waits for the pieces that run, in milliseconds. */
    readonly closeMs?: number;
  }): MemoryPieceServer;
  createDownloader(options?: {
    readonly timeouts?: Partial<DownloaderTimeouts> | undefined;
  }): Downloader;
}

export interface MemoryPieceServer extends PieceServer {
  /** What a downloader of the same transport dials to reach this server. */
  readonly parent: ParentAddress;
  /** Ends everything at once, as if the process had died. */
  kill(): void;
}

/**
 * The smallest transport that keeps all promises: for tests of what lies above, and to read what is promised.
 * Nothing is copied and nothing is read ahead.
 *
 * @param options.protocol the protocol it passes itself off as
 */
export function createMemoryTransport(
  options: { readonly protocol?: Protocol } = {},
): MemoryTransport {
  const network: Network = { protocol: options.protocol ?? "tcp", servers: new Map() };
  let port = 0;
  return {
    servePieces({ source, limits, closeMs = 5_000 }) {
      port += 1;
      const server = new MemoryServer(network, {
        port,
        source,
        limits: { ...DEFAULT_SERVER_LIMITS, ...limits },
        closeMs,
      });
      network.servers.set(port, server);
      return server;
    },
    createDownloader({ timeouts } = {}) {
      return new MemoryDownloader(network, { ...DEFAULT_DOWNLOADER_TIMEOUTS, ...timeouts });
    },
  };
}

interface Network {
  readonly protocol: Protocol;
  /** By port. */
  readonly servers: Map<number, MemoryServer>;
}

/** One request and its answer. Child, parent or the network between them may cut it; the reason says who. */
class Line {
  readonly child: Downloader;
  /** The parent has described the piece; what is cut from here on is content. */
  announced = false;
  readonly #controller = new AbortController();

  constructor(child: Downloader) {
    this.child = child;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  cut(reason: unknown): void {
    this.#controller.abort(reason);
  }
}

class MemoryDownloader implements Downloader {
  readonly #network: Network;
  readonly #timeouts: DownloaderTimeouts;
  readonly #lines = new Set<Line>();
  #closed = false;

  constructor(network: Network, timeouts: DownloaderTimeouts) {
    this.#network = network;
    this.#timeouts = timeouts;
  }

  get protocol(): Protocol {
    return this.#network.protocol;
  }

  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceDownload> {
    const { signal } = options;
    const { hostId } = parent;
    const { announceMs, stallMs } = this.#timeouts;
    const action = `Cannot download piece ${request.pieceNumber} from ${hostId}`;
    if (request.range !== undefined) assertByteRange(request.range);
    if (this.#closed) throw closedError(action);
    signal?.throwIfAborted();
    const server = this.#find(parent);
    if (server === undefined) {
      throw new TransportError("ERR_PARENT_UNREACHABLE", `${action}: nobody listens there`);
    }

    const line = new Line(this);
    this.#lines.add(line);
    const onAbort = (): void => line.cut(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const hangUp = (): void => {
      signal?.removeEventListener("abort", onAbort);
      this.#lines.delete(line);
      line.cut(closedError(action));
    };

    try {
      const { piece, content } = await within(server.openPiece(request, line), {
        ms: announceMs,
        signal: line.signal,
        expired: () =>
          new TransportError(
            "ERR_PARENT_STALLED",
            `${action}: not announced within ${announceMs} ms`,
          ),
      });
      const chunks = receive(content);
      const { length } = clipByteRange(request.range, piece.length);
      const { signal: cut } = line;
      const bounds = { length, stallMs, signal: cut };
      return createPieceDownload({ piece, hostId, chunks, ...bounds, close: hangUp });
    } catch (error) {
      hangUp();
      throw error;
    }
  }

  /** Ends what runs with `ERR_CLOSED`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const line of this.#lines) line.cut(closedError("Cannot download pieces"));
  }

  #find(parent: ParentAddress): MemoryServer | undefined {
    const { protocol, servers } = this.#network;
    const port = protocol === "quic" ? parent.ports.quic?.[0] : parent.ports[protocol];
    return port === undefined ? undefined : servers.get(port);
  }
}

/** A failure of the source as the child is told it. */
async function* receive(
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* content;
  } catch (error) {
    throw refusalError(error);
  }
}

class MemoryServer implements MemoryPieceServer {
  readonly address: ServerAddress;
  readonly #network: Network;
  readonly #source: PieceSource;
  readonly #limits: ServerLimits;
  readonly #closeMs: number;
  /** Every line in use, with the promise that its reader is closed. */
  readonly #lines = new Map<Line, Promise<void>>();

  constructor(
    network: Network,
    options: {
      readonly port: number;
      readonly source: PieceSource;
      readonly limits: ServerLimits;
      readonly closeMs: number;
    },
  ) {
    this.address = { ip: "127.0.0.1", port: options.port };
    this.#network = network;
    this.#source = options.source;
    this.#limits = options.limits;
    this.#closeMs = options.closeMs;
  }

  get protocol(): Protocol {
    return this.#network.protocol;
  }

  get parent(): ParentAddress {
    const { ip, port } = this.address;
    const ports = this.protocol === "quic" ? { quic: [port] } : { [this.protocol]: port };
    return { hostId: `memory-${port}`, ip, ports };
  }

  /** Serves the piece until the line is cut, by whomever; the line counts as a request until then. */
  async openPiece(request: PieceRequest, line: Line): Promise<PieceReader> {
    this.#assertWithinLimits(line.child);
    const opening = this.#source.openPiece(request, { signal: line.signal });
    void opening.then(
      ({ reclaimed }) => reclaimed?.addEventListener("abort", () => this.#cut(line)),
      () => undefined,
    );
    this.#lines.set(line, this.#release(line, opening));
    try {
      const { piece, content, ...reader } = await opening;
      line.announced = true;
      return { ...reader, piece, content: this.#watch(content, line) };
    } catch (error) {
      throw refusalError(error);
    }
  }

  kill(): void {
    this.#network.servers.delete(this.address.port);
    for (const line of this.#lines.keys()) {
      const code = line.announced ? "ERR_PIECE_TRUNCATED" : "ERR_PARENT_UNREACHABLE";
      line.cut(new TransportError(code, `Cannot read from ${this.parent.hostId}: it is gone`));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#network.servers.delete(this.address.port);
    const finished = Promise.all(this.#lines.values());
    const expired = (): Error => new Error(`Pieces still run after ${this.#closeMs} ms`);
    await within(finished, { ms: this.#closeMs, expired }).catch(() => this.kill());
  }

  #cut(line: Line): void {
    const reason = `Cannot read from ${this.parent.hostId}: too little is taken`;
    line.cut(new TransportError("ERR_PIECE_TRUNCATED", reason));
  }

  /** Cuts the line when nothing of the content is asked for too long. */
  #watch(content: AsyncIterable<Uint8Array>, line: Line): AsyncIterable<Uint8Array> {
    const { stallMs } = this.#limits;
    const wait = (): NodeJS.Timeout =>
      setTimeout(() => {
        const reason = `Cannot read from ${this.parent.hostId}: nothing was taken for ${stallMs} ms`;
        line.cut(new TransportError("ERR_PIECE_TRUNCATED", reason));
      }, stallMs);
    let timer = wait();
    line.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    const chunks = content[Symbol.asyncIterator]();
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          clearTimeout(timer);
          const pulled = await chunks.next();
          if (pulled.done !== true && !line.signal.aborted) timer = wait();
          return pulled;
        },
        async return(value: unknown) {
          await chunks.return?.();
          return { done: true, value };
        },
      }),
    };
  }

  #assertWithinLimits(child: Downloader): void {
    const { requestCountMax, connectionCountMax } = this.#limits;
    const children = new Set([child]);
    for (const line of this.#lines.keys()) children.add(line.child);
    if (this.#lines.size >= requestCountMax || children.size > connectionCountMax) {
      throw new TransportError(
        "ERR_PARENT_BUSY",
        `Cannot serve piece: ${this.#lines.size} requests run on ${children.size - 1} other connections, limits are ${requestCountMax} and ${connectionCountMax}`,
      );
    }
  }

  /** Resolves when the line has been cut and the reader, if there was one, is closed. */
  async #release(line: Line, opening: Promise<PieceReader>): Promise<void> {
    try {
      const cut = new Promise<void>((resolve) => {
        line.signal.addEventListener("abort", () => resolve(), { once: true });
      });
      const [reader] = await Promise.all([opening, cut]);
      await reader[Symbol.asyncDispose]();
    } catch {
      // The child has been told why there is no piece, and a reader that cannot be closed is the source's matter.
    } finally {
      this.#lines.delete(line);
    }
  }
}

function refusalError(error: unknown): TransportError {
  const { code, message } = toRefusal(error);
  return new TransportError(code, message, { cause: error });
}

function closedError(action: string): TransportError {
  return new TransportError("ERR_CLOSED", `${action}: the downloader is closed`);
}
