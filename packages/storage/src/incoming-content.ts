import type { BufferPool } from "./buffer-pool.ts";
import type { FileHandle } from "./file-system.ts";
import type { Interrupter } from "./interrupter.ts";
import { receiveContent } from "./receive-content.ts";
import type { ContentSender, PieceTarget } from "./storage.ts";

/** Content on its way to a piece, by whichever way it comes. Dispose it: content that nobody received is closed, exactly once. */
export class IncomingContent implements AsyncDisposable {
  readonly #content: AsyncIterable<Uint8Array> | ContentSender;
  readonly #interrupter: Interrupter;
  #isReceived = false;

  /** @param interrupter ends the transfer from outside */
  constructor(content: AsyncIterable<Uint8Array> | ContentSender, interrupter: Interrupter) {
    this.#content = content;
    this.#interrupter = interrupter;
  }

  /** Writes it to its place; see `receiveContent`. A sender does so by itself and has no need of the handle. */
  async receive(
    target: PieceTarget,
    { handle, pool }: { readonly handle: FileHandle; readonly pool: BufferPool },
  ): Promise<readonly string[]> {
    this.#isReceived = true;
    const content = this.#content;
    if (!isSender(content)) {
      return await receiveContent(handle, target, {
        content: this.#interrupter.iterate(content),
        pool,
      });
    }
    const { signal, release } = this.#interrupter.signal();
    try {
      return await content.sendTo(target, { signal });
    } finally {
      release();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isReceived) return;
    this.#isReceived = true;
    const content = this.#content;
    // The failure that kept it from being read is the one to tell.
    if (isSender(content)) await content.close().catch(() => undefined);
    else await Promise.resolve(content[Symbol.asyncIterator]().return?.()).catch(() => undefined);
  }
}

function isSender(content: AsyncIterable<Uint8Array> | ContentSender): content is ContentSender {
  return "sendTo" in content;
}
