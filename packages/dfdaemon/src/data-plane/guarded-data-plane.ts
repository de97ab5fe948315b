import type { ContentSender } from "@damselfly/storage";
import { guardContent } from "../origins/guarded-origin.ts";
import { OriginError } from "../origins/origin-error.ts";
import type { Guarded, OriginGuard } from "../origins/origin-guard.ts";
import type { OriginStat } from "../origins/origin.ts";
import type { ContentSlice } from "./content-stream.ts";
import type { DataPlane, OriginContent, OriginRead, SpooledOrigin } from "./data-plane.ts";

/** The same data plane, but that its questions to origins go past a guard. Disposing it disposes nothing: the other one is its owner's. */
export function guardDataPlane(dataPlane: DataPlane, guard: OriginGuard): DataPlane {
  return {
    storage: dataPlane.storage,
    get offers() {
      return dataPlane.offers;
    },
    get quinn() {
      return dataPlane.quinn;
    },
    fetchPiece: (fetch) => dataPlane.fetchPiece(fetch),
    readOrigin: async (read) => {
      const { request } = read;
      const work = (): Promise<OriginContent> =>
        dataPlane.readOrigin({ ...read, target: guard.targetOf(request) });
      return new GuardedContent(await guard.open(request, work, { ...signalOf(read), statOf }));
    },
    spoolOrigin: (read) => {
      const work = (_tryNumber: number, heard: () => void): Promise<SpooledOrigin> => {
        const onBytes = (length: number): void => {
          heard();
          read.onBytes?.(length);
        };
        return dataPlane.spoolOrigin({ ...read, onBytes });
      };
      return guard.ask(read.request, work, { ...signalOf(read), statOf });
    },
    openSpool: (spool) => dataPlane.openSpool(spool),
    transportReport: () => dataPlane.transportReport(),
    acceptForeign: (socket) => dataPlane.acceptForeign(socket),
    drain: () => dataPlane.drain(),
    async [Symbol.asyncDispose]() {},
  };
}

function statOf({ stat }: { readonly stat: OriginStat }): OriginStat {
  return stat;
}

/** A body of which the guard hears how it ends, wherever its bytes are. */
class GuardedContent implements OriginContent {
  readonly #guarded: Guarded<OriginContent>;
  /** As much as was asked for has come. */
  #isComplete = false;

  constructor(guarded: Guarded<OriginContent>) {
    this.#guarded = guarded;
  }

  get stat(): OriginContent["stat"] {
    return this.#guarded.value.stat;
  }

  next(length: number): ContentSlice {
    return this.#watchSlice(this.#guarded.value.next(length));
  }

  all(): ContentSlice {
    return this.#watchSlice(this.#guarded.value.all());
  }

  async end(): Promise<void> {
    await this.#watch(() => this.#guarded.value.end());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isComplete) this.#guarded.succeeded();
    else this.#guarded.left();
    await this.#guarded.value[Symbol.asyncDispose]();
  }

  #watchSlice(slice: ContentSlice): ContentSlice {
    const { content } = slice;
    this.#isComplete = false;
    return {
      content: "sendTo" in content ? this.#watchSender(content) : this.#watchBytes(content),
      rest: () => this.#watch(() => slice.rest()),
    };
  }

  #watchSender(sender: ContentSender): ContentSender {
    return {
      sendTo: (target, options) => this.#watch(() => sender.sendTo(target, options)),
      close: () => sender.close(),
    };
  }

  #watchBytes(content: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const guarded = {
      succeeded: () => {
        this.#isComplete = true;
      },
      failed: (error: unknown) => this.#guarded.failed(error),
      // What nobody took is read past, or the whole is closed.
      left: () => {},
    };
    return { [Symbol.asyncIterator]: () => guardContent(content, guarded) };
  }

  async #watch<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      const result = await work();
      this.#isComplete = true;
      return result;
    } catch (error) {
      if (error instanceof OriginError) this.#guarded.failed(error);
      throw error;
    }
  }
}

function signalOf({ signal }: Pick<OriginRead, "signal">): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
