import { X509Certificate } from "node:crypto";
import { isAbsolute } from "node:path";
import type { Download__Output } from "@damselfly/rpc";
import { DaemonError } from "../errors.ts";
import { formatDigest, parseDigest } from "../identity/digest.ts";
import { PIECE_LENGTH_MAX, PIECE_LENGTH_MIN } from "../identity/piece-length.ts";
import { computeTaskId } from "../identity/task-id.ts";
import { redactUrl } from "../origins/redact-url.ts";
import { clampByteRange, parseByteRange, type ByteRange } from "../tasks/byte-range.ts";
import type { DownloadRequest } from "../tasks/download-request.ts";

/**
 * Dragonfly's `Download` as a request, checked.
 *
 * @param options.outputAllowed - only the unix socket's clients may have files written for them
 * @throws {DaemonError} `ERR_REQUEST` naming what is wrong
 */
export function decodeDownload(
  download: Download__Output | null | undefined,
  options: { readonly outputAllowed: boolean },
): DownloadRequest & { readonly needPieceContent: boolean } {
  if (download === null || download === undefined) throw refusal("the request has no download");
  const { url, authorization } = decodeUrl(download.url);
  const { range, header: asked } = decodeRange(download);
  const header =
    authorization === undefined || hasAuthorization(asked) ? asked : { ...asked, authorization };
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
      : formatDigest(parseDigest(download.digest));
  const outputPath = download.outputPath === "" ? undefined : download.outputPath;
  if (outputPath !== undefined && !options.outputAllowed)
    throw refusal("files are written only for clients on the unix socket");
  if (download.needPieceContent && !options.outputAllowed) {
    throw refusal("content is sent only to clients on the unix socket");
  }
  if (outputPath !== undefined && !isAbsolute(outputPath))
    throw refusal(`the output path is '${outputPath}', expected an absolute one`);
  if (
    download.objectStorage ||
    download.hdfs ||
    download.huggingFace ||
    download.modelScope ||
    download.openCsg
  ) {
    throw refusal("only http and https origins are supported");
  }
  const caCert = decodeCertificates(download.certificateChain);
  return {
    taskId: computeTaskId({
      url: download.url,
      tag: download.tag ?? "",
      application: download.application ?? "",
      filteredQueryParams: download.filteredQueryParams,
      ...(pieceLength === undefined ? {} : { pieceLength }),
      ...(download.contentForCalculatingTaskId === undefined
        ? {}
        : { contentForCalculatingTaskId: download.contentForCalculatingTaskId }),
      enableTaskIdBasedBlobDigest: download.enableTaskIdBasedBlobDigest,
    }),
    origin: {
      url,
      header,
      ...(caCert === undefined ? {} : { caCert }),
      // On the network's word nothing is fetched unchecked.
      ...(download.extension?.insecureSkipVerify === true && options.outputAllowed
        ? { insecure: true }
        : {}),
    },
    tag: download.tag ?? "",
    application: download.application ?? "",
    priority: download.priority,
    filteredQueryParams: download.filteredQueryParams,
    ...(pieceLength === undefined ? {} : { pieceLength }),
    ...(range === undefined ? {} : { range }),
    ...(digest === undefined ? {} : { digest }),
    needBackToSource: download.needBackToSource,
    disableBackToSource: download.disableBackToSource,
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
    needPieceContent: download.needPieceContent,
  };
}

/** The URL without the user it names; that one becomes a header, so that it is treated as the secret it is. */
function decodeUrl(text: string): { readonly url: string; readonly authorization?: string } {
  if (!URL.canParse(text)) throw refusal(`'${redactUrl(text).slice(0, 200)}' is not a URL`);
  const url = new URL(text);
  const { protocol, username, password } = url;
  if (protocol !== "http:" && protocol !== "https:") {
    throw refusal(`the URL's scheme is '${protocol.slice(0, -1)}', expected http or https`);
  }
  if (username === "" && password === "") return { url: text };
  url.username = "";
  url.password = "";
  let user: string;
  try {
    user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch (error) {
    throw new DaemonError(
      "ERR_REQUEST",
      "Cannot read request: the user in the URL is not encoded as a URL wants it",
      { cause: error },
    );
  }
  return { url: url.href, authorization: `Basic ${Buffer.from(user).toString("base64")}` };
}

function hasAuthorization(header: Readonly<Record<string, string>>): boolean {
  return Object.keys(header).some((name) => name.toLowerCase() === "authorization");
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

/** PEM texts or DER blocks, as one PEM text. */
function decodeCertificates(chain: readonly Uint8Array[]): string | undefined {
  if (chain.length === 0) return undefined;
  return chain
    .map((certificate) => {
      const text = Buffer.from(certificate).toString("latin1");
      if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
      try {
        return new X509Certificate(certificate).toString();
      } catch (error) {
        throw new DaemonError(
          "ERR_REQUEST",
          "Cannot read request: a certificate in it is neither PEM nor DER",
          { cause: error },
        );
      }
    })
    .join("\n");
}

function refusal(reason: string): DaemonError {
  return new DaemonError("ERR_REQUEST", `Cannot read request: ${reason}`);
}
