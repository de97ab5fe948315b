import { constants, type ServerHttp2Stream } from "node:http2";

/** How often to look whether the status has left. Milliseconds. */
const INTERVAL_MS = 5;

/**
 * Has the caller let go of its request when the call has ended and it has not said its last word: after the status comes
 * RST_STREAM with NO_ERROR, as RFC 9113, 8.1 allows and grpc-go does; grpc-js leaves the stream half-open. Dragonfly's
 * daemon waits for it, without a limit, at the end of every AnnouncePeer.
 */
export function resetOpenRequest(stream: ServerHttp2Stream): void {
  stream.once("wantTrailers", () => setImmediate(() => resetWhenAnswered(stream)));
}

/** The same for a call whose last word is on its way already. */
export function resetWhenAnswered(stream: ServerHttp2Stream): void {
  // A reset overtakes what has not been given to the socket yet, and Node has no event for that.
  if (stream.destroyed || stream.closed || stream.state.remoteClose === 1) return;
  if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR);
  else setTimeout(() => resetWhenAnswered(stream), INTERVAL_MS).unref();
}
