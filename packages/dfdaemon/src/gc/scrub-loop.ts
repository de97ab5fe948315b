import type { Storage } from "@damselfly/storage";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { pause } from "../pause.ts";

/** Who counts what the scrub sees. */
export interface ScrubObserver {
  pieceScrubbed(piece: { readonly length: number; readonly isGood: boolean }): void;
  scrubPassed(): void;
}

export interface ScrubLoopOptions {
  readonly storage: Pick<Storage, "scrub">;
  /** 0: none. */
  readonly bytesPerSecond: number;
  readonly isBusy: () => boolean;
  readonly observer: ScrubObserver;
  readonly logger: Logger;
}

/** The scrub of a storage, until disposed. */
export class ScrubLoop implements AsyncDisposable {
  readonly #options: ScrubLoopOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: ScrubLoopOptions) {
    this.#options = options;
    this.#running = options.bytesPerSecond === 0 ? Promise.resolve() : this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { storage, bytesPerSecond, isBusy, observer, logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await storage.scrub({
          bytesPerSecond,
          isBusy,
          signal,
          onPiece: (piece) => observer.pieceScrubbed(piece),
          onPass: () => observer.scrubPassed(),
        });
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({}, `the scrub begins again in a minute: ${messageOf(error)}`);
      }
      await pause(RETRY_MS, signal);
    }
  }
}

const RETRY_MS = 60_000;
