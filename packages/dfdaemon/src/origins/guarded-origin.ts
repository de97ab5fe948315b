import { OriginError } from "./origin-error.ts";
import type { Guarded, OriginGuard } from "./origin-guard.ts";
import type { Origin, OriginBody, OriginCallOptions, OriginRequest, OriginStat } from "./origin.ts";

/** An origin behind a guard. Disposing it closes both. */
export function guardOrigin(origin: Origin, guard: OriginGuard): Origin {
  const statOf = ({ stat }: OriginBody): OriginStat => stat;
  return {
    stat: (request: OriginRequest, options: OriginCallOptions = {}): Promise<OriginStat> =>
      guard.ask(
        request,
        // HEAD is a shortcut, and not worth a second try.
        (tryNumber) => origin.stat(request, { ...signalOf(options), byGet: tryNumber > 1 }),
        { ...options, statOf: (stat) => stat },
      ),
    readRange: async (request, range, expected, options = {}) => {
      const read = (): Promise<OriginBody> => {
        const target = guard.targetOf(request);
        return origin.readRange(request, range, expected, { ...signalOf(options), target });
      };
      return guardBody(await guard.open(request, read, { ...options, statOf }));
    },
    readAll: async (request, options = {}) => {
      const read = (): Promise<OriginBody> => origin.readAll(request, signalOf(options));
      return guardBody(await guard.open(request, read, { ...options, statOf }));
    },
    async [Symbol.asyncDispose]() {
      guard.close();
      await origin[Symbol.asyncDispose]();
    },
  };
}

function signalOf({ signal }: OriginCallOptions): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function guardBody(guarded: Guarded<OriginBody>): OriginBody {
  const { value: body } = guarded;
  return {
    stat: body.stat,
    content: guardContent(body.content, guarded),
    async [Symbol.asyncDispose]() {
      guarded.left();
      await body[Symbol.asyncDispose]();
    },
  };
}

/** The same content, while the guard hears how it ends. */
export function guardContent(
  content: AsyncIterable<Uint8Array>,
  guarded: Pick<Guarded<unknown>, "succeeded" | "failed" | "left">,
): AsyncIterableIterator<Uint8Array> {
  const source = content[Symbol.asyncIterator]();
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        const result = await source.next();
        if (result.done === true) guarded.succeeded();
        return result;
      } catch (error) {
        if (error instanceof OriginError) guarded.failed(error);
        else guarded.left();
        throw error;
      }
    },
    async return() {
      guarded.left();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}
