import { performance } from "node:perf_hooks";
import type { Downloader, ParentAddress, PieceDownload, PieceRequest } from "@damselfly/transport";
import type { QuicBackend, QuicDownloader } from "@damselfly/transport-quic";
import { codeOf } from "../code-of.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import type { BackendChoice, PathReport } from "./backend-choice.ts";

/** Fetches each piece over the QUIC backend that `BackendChoice` says, or over the other if that is not reached. */
export class TwoBackendDownloader implements Downloader {
  readonly protocol = "quic";
  readonly #downloaders: Readonly<Record<QuicBackend, QuicDownloader>>;
  readonly #choice: BackendChoice;
  readonly #logger: Logger;

  constructor(parts: {
    readonly downloaders: Readonly<Record<QuicBackend, QuicDownloader>>;
    readonly choice: BackendChoice;
    readonly logger: Logger;
  }) {
    this.#downloaders = parts.downloaders;
    this.#choice = parts.choice;
    this.#logger = parts.logger;
  }

  async downloadPiece(
    parent: ParentAddress,
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<PieceDownload> {
    let failure: unknown;
    for (const backend of this.#choice.order(parent, () => this.#pathTo(parent))) {
      const startedAt = performance.now();
      try {
        const download = await this.#downloaders[backend].downloadPiece(parent, request, options);
        return this.#measuring(download, { parent, backend, startedAt });
      } catch (error) {
        // A key that is not known yet, or not any more, is no reason to do without the certificates.
        const code = codeOf(error);
        const isPassable = backend === "quinn" && code === "ERR_PARENT_UNTRUSTED";
        if (code !== "ERR_PARENT_UNREACHABLE" && !isPassable) throw error;
        failure = error;
        if (this.#choice.failed(parent, backend)) {
          this.#logger.debug(
            { parent: parent.hostId, backend },
            `QUIC by ${backend} does not get through: ${messageOf(error)}`,
          );
        }
      }
    }
    throw failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { quiche, quinn } = this.#downloaders;
    await Promise.all([quiche[Symbol.asyncDispose](), quinn[Symbol.asyncDispose]()]);
  }

  /** What the connection with the shortest round trip to that address has seen. */
  #pathTo({ ip }: ParentAddress): PathReport | undefined {
    let best: PathReport | undefined;
    for (const downloader of Object.values(this.#downloaders)) {
      for (const stats of downloader.stats().connections) {
        // Before the handshake there is no round trip to speak of.
        const isKnown = stats.ip === ip && stats.handshakeMs > 0;
        if (isKnown && stats.rttMs < (best?.rttMs ?? Infinity)) best = stats;
      }
    }
    return best;
  }

  #measuring(
    download: PieceDownload,
    origin: { parent: ParentAddress; backend: QuicBackend; startedAt: number },
  ): PieceDownload {
    const { parent, backend, startedAt } = origin;
    const onEnd = (length: number): void =>
      this.#choice.measured(parent, backend, {
        length,
        durationMs: performance.now() - startedAt,
      });
    return {
      piece: download.piece,
      content: { [Symbol.asyncIterator]: () => measure(download.content, onEnd) },
      [Symbol.asyncDispose]: () => download[Symbol.asyncDispose](),
    };
  }
}

async function* measure(
  content: AsyncIterable<Uint8Array>,
  onEnd: (length: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let length = 0;
  for await (const chunk of content) {
    length += chunk.byteLength;
    yield chunk;
  }
  onEnd(length);
}
