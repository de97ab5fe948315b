import { X509Certificate } from "node:crypto";

import type { DaemonRequest } from "./message-codec.ts";
import type { DownloadOptions } from "./options.ts";

/**
 * What dfget asks the daemon for. `outputPath` undefined: the pieces are to carry their content. `uid`: who runs dfget; undefined where
 * there are no user ids.
 */
export function createDownloadRequest(
  options: DownloadOptions,
  delivery: {
    readonly outputPath: string | undefined;
    readonly uid: number | undefined;
    readonly certificateChain: readonly Uint8Array[];
  },
): DaemonRequest {
  const { range, digest } = options;
  const needPieceContent = delivery.outputPath === undefined;
  return {
    url: options.url,
    type: "STANDARD",
    tag: options.tag,
    application: options.application,
    priority: `LEVEL${options.priority}`,
    filteredQueryParams: [...options.filteredQueryParams],
    requestHeader: { ...options.header, ...openRangeHeader(options) },
    certificateChain: [...delivery.certificateChain],
    timeout: { seconds: Math.ceil(options.timeoutMs / 1000), nanos: 0 },
    disableBackToSource: options.disableBackToSource,
    needPieceContent,
    forceHardLink: options.forceHardLink,
    overwrite: options.overwrite,
    schedulingPolicy: options.schedulingPolicy === "always" ? "ALWAYS" : "AUTO",
    ...extensionOf(options, delivery),
    ...(delivery.outputPath === undefined ? {} : { outputPath: delivery.outputPath }),
    ...(digest === undefined ? {} : { digest: `${digest.algorithm}:${digest.value}` }),
    ...(range?.kind === "between" ? { range: { start: range.offset, length: range.length } } : {}),
    ...(options.pieceLength === undefined ? {} : { pieceLength: options.pieceLength }),
    ...(options.contentForTaskId === undefined
      ? {}
      : { contentForCalculatingTaskId: options.contentForTaskId }),
  };
}

/** Only where there is something to say: Dragonfly's daemons know no such field. */
function extensionOf(
  { insecure, revalidate }: DownloadOptions,
  {
    outputPath,
    uid,
  }: { readonly outputPath: string | undefined; readonly uid: number | undefined },
): Pick<DaemonRequest, "extension"> {
  const extension = {
    ...(insecure ? { insecureSkipVerify: true } : {}),
    ...(revalidate ? { revalidate: true } : {}),
    // Who takes the content itself may be anybody.
    ...(outputPath === undefined || uid === undefined ? {} : { uid }),
  };
  return Object.keys(extension).length === 0 ? {} : { extension };
}

/**
 * Ranges that need the file's length have no place in common.v2.Range. Daemons read the header for them, Dragonfly's too, and do
 * not pass it on as it is.
 */
function openRangeHeader({ range }: DownloadOptions): { readonly Range?: string } {
  if (range?.kind === "from") return { Range: `bytes=${range.offset}-` };
  if (range?.kind === "last") return { Range: `bytes=-${range.length}` };
  return {};
}

/**
 * The certificates in a PEM file, as DER.
 *
 * @throws {RangeError} if there is none, or one cannot be read
 */
export function parseCertificates(pem: string): readonly Uint8Array[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (blocks === null) throw new RangeError("it holds no certificate, expected PEM");
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block).raw;
    } catch (cause) {
      throw new RangeError(`certificate ${index + 1} cannot be read`, { cause });
    }
  });
}
