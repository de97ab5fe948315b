import { isUint8Array } from "node:util/types";

/**
 * The binding takes nothing else, and says so at a time when it looks like a failure of the connection.
 *
 * @throws {TypeError} unless it is a `Uint8Array`, or a `Buffer`, whose memory has not been transferred away
 */
export function assertBytes(what: string, bytes: Uint8Array): void {
  if (!isUint8Array(bytes)) {
    throw new TypeError(`${what}: ${typeOf(bytes)} was given, a Uint8Array is needed`);
  }
  if (bytes.byteLength === 0 && isDetached(bytes)) {
    throw new TypeError(`${what}: the buffer was detached`);
  }
}

/** Node 20 does not tell; but nothing can be made of such a buffer any more. */
function isDetached({ buffer }: Uint8Array): boolean {
  try {
    new Uint8Array(buffer).subarray(0, 0);
    return false;
  } catch {
    return true;
  }
}

function typeOf(value: unknown): string {
  return value === null
    ? "null"
    : Object.prototype.toString.call(value).slice("[object ".length, -1);
}
