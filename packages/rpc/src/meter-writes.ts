import type { Writable } from "node:stream";

type WriteCallback = (error: Error | null | undefined) => void;

/**
 * Tells how many bytes have been written to a stream and were not taken by whoever reads it, after each change. Node says so only of its
 * own buffer, which ends where HTTP/2's begins.
 */
export function meterWrites(
  stream: Pick<Writable, "write">,
  onChange: (length: number) => void,
): void {
  const write = stream.write.bind(stream);
  let held = 0;
  const add = (length: number): void => {
    held += length;
    onChange(held);
  };
  const metered = (
    chunk: unknown,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean => {
    const length = chunk instanceof Uint8Array ? chunk.byteLength : 0;
    add(length);
    const after = (error: Error | null | undefined): void => {
      add(-length);
      if (typeof encoding === "function") encoding(error);
      else callback?.(error);
    };
    return typeof encoding === "string" ? write(chunk, encoding, after) : write(chunk, after);
  };
  Object.assign(stream, { write: metered });
}
