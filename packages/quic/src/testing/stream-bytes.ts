import type { QuicConnection, QuicStream } from "../quic.ts";

/** Everything up to the end of the stream. */
export async function readAll(
  stream: QuicStream,
  readLength: () => number = () => 65_536,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const buffer = Buffer.alloc(readLength());
    const length = await stream.read(buffer);
    if (length === 0) return Buffer.concat(parts);
    parts.push(buffer.subarray(0, length));
  }
}

/** Sends back on every stream what came in on it; failures of single streams are theirs. */
export function serveEcho(connection: QuicConnection): void {
  connection.onStream = (stream) => {
    echo(stream).catch(() => stream.reset(1));
  };
}

/** One read ahead, so that the end travels with the last bytes. */
async function echo(stream: QuicStream): Promise<void> {
  let last = Buffer.alloc(0);
  for (;;) {
    const next = Buffer.alloc(65_536);
    const length = await stream.read(next);
    if (length === 0) break;
    await stream.write(last);
    last = next.subarray(0, length);
  }
  await stream.end(last);
}

/** Bytes that show whether any block of them was lost, doubled or moved. */
export function pattern(length: number, start = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) {
    bytes[index] = (Math.imul(start + index + 1, 0x9e3779b1) >>> 24) & 0xff;
  }
  return bytes;
}

/** The error a promise ends in. */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error("Expected a failure");
}
