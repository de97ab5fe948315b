import type { ContentSender } from "@damselfly/storage";
import type { ContentSlice, ContentStream } from "../../content-stream.ts";
import type { RunningWorker } from "./running-worker.ts";

/** A content that is open in a data-plane process. Its bytes never come here. */
export class RemoteContent implements ContentStream {
  readonly #worker: RunningWorker;
  readonly #content: number;
  readonly #release: () => void;
  readonly #signal: AbortSignal | undefined;
  /** It has been closed over there. */
  #isClosed = false;
  #closing: Promise<void> | undefined;

  constructor(options: {
    readonly worker: RunningWorker;
    /** As `RunningWorker.reserveContent` gave it. */
    readonly content: number;
    readonly release: () => void;
    /** Ends the transfer. */
    readonly signal: AbortSignal | undefined;
  }) {
    this.#worker = options.worker;
    this.#content = options.content;
    this.#release = options.release;
    this.#signal = options.signal;
  }

  next(length: number): ContentSlice {
    return this.#slice(length);
  }

  all(): ContentSlice {
    return this.#slice("all");
  }

  async end(): Promise<void> {
    await this.#call(undefined, (signal) =>
      this.#worker.link.call("end", { content: this.#content }, { signal }),
    );
  }

  /** Writes all of it to a file. Resolves with its length. */
  async spoolTo(path: string, options: { readonly signal: AbortSignal }): Promise<number> {
    return await this.#call(options.signal, (signal) =>
      this.#worker.link.call("spool", { content: this.#content, path }, { signal }),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#release();
    if (this.#isClosed) return;
    try {
      await this.#worker.link.call("close", { content: this.#content });
    } catch {
      // The process is gone, and the content with it.
    }
  }

  #slice(length: number | "all"): ContentSlice {
    const { link } = this.#worker;
    const id = this.#content;
    let isTaken = false;
    const content: ContentSender = {
      sendTo: async (target, options) => {
        isTaken = true;
        const digests = await this.#call(options.signal, (signal) =>
          link.call("receive", { content: id, target, length }, { signal }),
        );
        this.#isClosed = length === "all";
        return digests;
      },
      async close() {},
    };
    const rest = async (): Promise<void> => {
      if (isTaken) return;
      isTaken = true;
      await this.#call(undefined, (signal) =>
        link.call("skip", { content: id, length }, { signal }),
      );
    };
    return { content, rest };
  }

  /** With both signals: no `AbortSignal.any`, which would keep a trace of each piece on a signal that lives as long as a download. */
  async #call<Result>(
    signal: AbortSignal | undefined,
    call: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const either = new AbortController();
    const sources = [signal, this.#signal].filter((source) => source !== undefined);
    const abort = (event: Event): void => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- listened for on signals only
      either.abort((event.target as AbortSignal).reason);
    };
    for (const source of sources) {
      if (source.aborted) either.abort(source.reason);
      source.addEventListener("abort", abort, { once: true });
    }
    try {
      return await call(either.signal);
    } finally {
      for (const source of sources) source.removeEventListener("abort", abort);
    }
  }
}
