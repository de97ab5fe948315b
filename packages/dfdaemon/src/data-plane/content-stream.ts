import type { ContentSender } from "@damselfly/storage";
import { cutContent } from "../tasks/cut-content.ts";

/** A stream of content on its way to pieces, wherever its bytes are. Dispose it to close the stream. */
export interface ContentStream extends AsyncDisposable {
  /** The next `length` bytes, or fewer if the stream ends first. One slice at a time: be done with it before asking for the next. */
  next(length: number): ContentSlice;
  /**
   * All that is left, to the end: what the stream throws there comes as well, and a connection behind it is of use again. One slice at a
   * time, likewise.
   */
  all(): ContentSlice;
  /** Reads on to the end, where nothing may be left. @throws what the stream throws there, such as a body that is too short or too long */
  end(): Promise<void>;
}

export interface ContentSlice {
  /** For `StoredTask.writePiece`. */
  readonly content: AsyncIterable<Uint8Array> | ContentSender;
  /** Reads past what nobody took of it. @throws what the stream throws */
  rest(): Promise<void>;
}

/** A stream whose bytes are in this process. A chunk is its consumer's until the next is asked for. */
export interface LocalContentStream extends ContentStream {
  next(length: number): LocalSlice;
  all(): LocalSlice;
}

type LocalSlice = ContentSlice & { readonly content: AsyncIterable<Uint8Array> };

export function createContentStream(content: AsyncIterable<Uint8Array>): LocalContentStream {
  const cut = cutContent(content);
  const next = (length: number): LocalSlice => {
    const slice = cut.next(length);
    return { content: slice, rest: () => drain(slice) };
  };
  return {
    next,
    all: () => next(Number.MAX_SAFE_INTEGER),
    end: () => drain(cut.next(1)),
    [Symbol.asyncDispose]: () => cut[Symbol.asyncDispose](),
  };
}

async function drain(slice: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of slice);
}
