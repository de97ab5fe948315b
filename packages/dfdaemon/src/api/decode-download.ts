import { isAbsolute } from "node:path";
import { durationToMs, type Download__Output } from "@damselfly/rpc";
import { DaemonError } from "../errors.ts";
import { formatDigest, parseDigest } from "../identity/digest.ts";
import { PIECE_LENGTH_MAX, PIECE_LENGTH_MIN } from "../identity/piece-length.ts";
import { computeTaskId } from "../identity/task-id.ts";
import { messageOf } from "../message-of.ts";
import { clampByteRange, parseByteRange, type ByteRange } from "../tasks/byte-range.ts";
import type { DownloadRequest } from "../tasks/download-request.ts";
import { decodeOrigin } from "./decode-origin.ts";

/** A request, and what of it only the answering of the call is about. */
export interface DecodedDownload extends DownloadRequest {
  readonly needPieceContent: boolean;
  /** A part is asked for, and the rest is wanted soon. */
  readonly prefetch: boolean;
  /** The whole download must be over by then. Milliseconds; absent: it may take its time. */
  readonly timeoutMs?: number;
}

/**
 * Dragonfly's `Download` as a request, checked.
 *
 * @param options.outputAllowed - only the unix socket's clients may have files written for them
 * @throws {DaemonError} `ERR_REQUEST` naming what is wrong, `ERR_UNSUPPORTED` where Dragonfly's daemon finds out only later
 */
export function decodeDownload(
  download: Download__Output | null | undefined,
  options: { readonly outputAllowed: boolean },
): DecodedDownload {
  if (download === null || download === undefined) throw refusal("the request has no download");
  const taskId = decodeTaskId(download);
  const { range, header } = decodeRange(download);
  const origin = decodeOrigin(
    { ...download, requestHeader: header },
    // On the network's word nothing is fetched unchecked.
    { insecure: download.extension?.insecureSkipVerify === true && options.outputAllowed },
  );
  const pieceLength = download.pieceLength;
  if (
    pieceLength !== undefined &&
    (!Number.isSafeInteger(pieceLength) ||
      pieceLength < PIECE_LENGTH_MIN ||
      pieceLength > PIECE_LENGTH_MAX)
  ) {
    throw refusal(
      `the piece length is ${pieceLength} bytes, expected ${PIECE_LENGTH_MIN} to ${PIECE_LENGTH_MAX}`,
    );
  }
  const digest =
    download.digest === undefined || download.digest === ""
      ? undefined
      : decodeDigest(download.digest);
  const outputPath = download.outputPath === "" ? undefined : download.outputPath;
  if (outputPath !== undefined && !options.outputAllowed)
    throw refusal("files are written only for clients on the unix socket");
  if (outputPath !== undefined && !isAbsolute(outputPath))
    throw refusal(`the output path is '${outputPath}', expected an absolute one`);
  const timeoutMs = download.timeout ? durationToMs(download.timeout) : 0;
  return {
    taskId,
    origin,
    tag: download.tag ?? "",
    application: download.application ?? "",
    priority: download.priority,
    filteredQueryParams: download.filteredQueryParams,
    ...(download.contentForCalculatingTaskId === undefined
      ? {}
      : { contentForCalculatingTaskId: download.contentForCalculatingTaskId }),
    enableTaskIdBasedBlobDigest: download.enableTaskIdBasedBlobDigest,
    ...(pieceLength === undefined ? {} : { pieceLength }),
    ...(range === undefined ? {} : { range }),
    ...(digest === undefined ? {} : { digest }),
    needBackToSource: download.needBackToSource,
    disableBackToSource: download.disableBackToSource,
    schedulingPolicy: download.schedulingPolicy,
    metadataOnly: download.metadataOnly,
    revalidate: download.extension?.revalidate === true,
    forOthers: !options.outputAllowed,
    ...(outputPath === undefined
      ? {}
      : {
          output: {
            path: outputPath,
            overwrite: download.overwrite,
            forceHardLink: download.forceHardLink,
          },
        }),
    // A scheduler that asks a seed passes on what the child has asked of its own daemon; it throws content away.
    needPieceContent: download.needPieceContent && options.outputAllowed,
    prefetch: download.prefetch && !download.isPrefetch && range !== undefined,
    ...(timeoutMs > 0 ? { timeoutMs } : {}),
  };
}

function decodeTaskId(download: Download__Output): string {
  const { pieceLength, contentForCalculatingTaskId } = download;
  return computeTaskId({
    url: download.url,
    tag: download.tag ?? "",
    application: download.application ?? "",
    filteredQueryParams: download.filteredQueryParams,
    ...(pieceLength === undefined ? {} : { pieceLength }),
    ...(contentForCalculatingTaskId === undefined ? {} : { contentForCalculatingTaskId }),
    enableTaskIdBasedBlobDigest: download.enableTaskIdBasedBlobDigest,
  });
}

function decodeDigest(text: string): string {
  try {
    return formatDigest(parseDigest(text));
  } catch (error) {
    throw new DaemonError("ERR_UNSUPPORTED", messageOf(error), { cause: error });
  }
}

/** The range from its own field, else from a Range header, which never goes to the origin as it is. */
function decodeRange(download: Download__Output): {
  readonly range?: (contentLength: number) => ByteRange;
  readonly header: Readonly<Record<string, string>>;
} {
  const header: Record<string, string> = {};
  let value: string | undefined;
  for (const [name, text] of Object.entries(download.requestHeader)) {
    if (name.toLowerCase() === "range") value = text;
    else header[name] = text;
  }
  const { range } = download;
  if (range)
    return {
      range: (contentLength) =>
        clampByteRange({ offset: range.start, length: range.length }, contentLength),
      header,
    };
  if (value === undefined) return { header };
  const text = value;
  return { range: (contentLength) => parseByteRange(text, contentLength), header };
}

function refusal(reason: string): DaemonError {
  return new DaemonError("ERR_REQUEST", `Cannot read request: ${reason}`);
}
