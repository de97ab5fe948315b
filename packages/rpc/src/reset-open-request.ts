import { constants, type ServerHttp2Stream } from "node:http2";

/** When to look first whether the status has left, and how far apart at most, when a caller takes nothing. Milliseconds. */
const INTERVAL_MIN_MS = 5;
const INTERVAL_MAX_MS = 1_000;

/**
 * Has the caller let go of its request when the call has ended and it has not said its last word: after the status comes
 * RST_STREAM with NO_ERROR, as RFC 9113, 8.1 allows and grpc-go does; grpc-js leaves the stream half-open. Dragonfly's
 * daemon waits for it, without a limit, at the end of every AnnouncePeer.
 */
export function resetOpenRequest(stream: ServerHttp2Stream): void {
  stream.once("wantTrailers", () => setImmediate(() => resetWhenAnswered(stream)));
}

/** The same for a call whose last word is on its way already. */
export function resetWhenAnswered(
  stream: ServerHttp2Stream,
  intervalMs: number = INTERVAL_MIN_MS,
): void {
  // A reset overtakes what has not been given to the socket yet, and Node has no event for that.
  if (stream.destroyed || stream.closed || stream.state.remoteClose === 1) return;
  if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR);
  else {
    const nextMs = Math.min(2 * intervalMs, INTERVAL_MAX_MS);
    setTimeout(() => resetWhenAnswered(stream, nextMs), intervalMs).unref();
  }
}
