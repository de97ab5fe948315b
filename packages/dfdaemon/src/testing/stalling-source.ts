import { setTimeout } from "node:timers/promises";
import type { PieceRequest, PieceSource } from "@damselfly/transport";

/** A parent that a test can freeze: it announces pieces, and sends no further than it is told to, or a byte now and then. */
export class StallingSource implements PieceSource {
  /** Pieces and where their requests began: `3 from 0`. */
  readonly asked: string[] = [];
  /** Bytes of a piece that are sent; undefined: nothing is announced. */
  sendsTo: number | undefined;
  readonly #source: PieceSource;
  readonly #crawlMs: number | undefined;

  /** @param options.crawlMs between two bytes of what it would not send else; undefined: they never come */
  constructor(
    source: PieceSource,
    options: { readonly sendsTo?: number | undefined; readonly crawlMs?: number | undefined } = {},
  ) {
    this.#source = source;
    this.#crawlMs = options.crawlMs;
    this.sendsTo = "sendsTo" in options ? options.sendsTo : Infinity;
  }

  async openPiece(
    request: PieceRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): ReturnType<PieceSource["openPiece"]> {
    this.asked.push(`${request.pieceNumber} from ${request.range?.offset ?? 0}`);
    if (this.sendsTo === undefined) await untilAborted(options.signal);
    const reader = await this.#source.openPiece(request, options);
    const sendsTo = (): number => this.sendsTo ?? 0;
    const crawlMs = this.#crawlMs;
    async function* content(): AsyncGenerator<Uint8Array> {
      let offset = request.range?.offset ?? 0;
      for await (const chunk of reader.content) {
        const part = chunk.subarray(0, Math.max(0, sendsTo() - offset));
        offset += part.byteLength;
        if (part.byteLength > 0) yield part;
        if (part.byteLength === chunk.byteLength) continue;
        if (crawlMs === undefined) await untilAborted(options.signal);
        for (const byte of chunk.subarray(part.byteLength)) {
          await setTimeout(crawlMs, undefined, options.signal && { signal: options.signal });
          yield Uint8Array.of(byte);
        }
      }
    }
    return {
      piece: reader.piece,
      content: content(),
      [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
    };
  }
}

async function untilAborted(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
