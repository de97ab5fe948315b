import {
  durationToMs,
  status,
  type ListTaskEntriesRequest__Output,
  type ListTaskEntriesResponse,
} from "@damselfly/rpc";
import { TIMER_MS_MAX } from "@damselfly/settings";
import type { Origin } from "../origins/origin.ts";
import { decodeOrigin } from "./decode-origin.ts";

/**
 * What the origin says of a URL. HTTP knows no directories: of a file there are no entries, as Dragonfly's daemons answer, and a URL that
 * ends in a slash is refused rather than shown as an empty directory.
 *
 * @throws {RpcError} `UNIMPLEMENTED` for a directory
 * @throws {OriginError | DaemonError}
 */
export async function listTaskEntries(
  origin: Pick<Origin, "stat">,
  request: ListTaskEntriesRequest__Output,
  options: { readonly signal: AbortSignal },
): Promise<ListTaskEntriesResponse> {
  const asked = decodeOrigin(request, { insecure: false });
  if (new URL(asked.url).pathname.endsWith("/")) {
    throw status(
      "UNIMPLEMENTED",
      "Cannot list entries: HTTP has no directories, name the files one by one",
    );
  }
  const timeoutMs = request.timeout ? durationToMs(request.timeout) : 0;
  const signal =
    timeoutMs > 0
      ? AbortSignal.any([
          options.signal,
          AbortSignal.timeout(Math.ceil(Math.min(timeoutMs, TIMER_MS_MAX))),
        ])
      : options.signal;
  const stat = await origin.stat(asked, { signal });
  return {
    contentLength: stat.contentLength ?? 0,
    responseHeader: { ...stat.responseHeader },
    statusCode: stat.statusCode,
    entries: [],
  };
}
