import type { RpcError } from "./rpc-error.ts";

/** What an origin answered, as it travels in the details of an `INTERNAL` status. */
export interface BackendDetails {
  /** For people. */
  readonly message: string;
  /** The header of the origin's answer. */
  readonly header: Readonly<Record<string, string>>;
  /** The origin's HTTP status; undefined when it never answered. */
  readonly statusCode?: number;
}

/**
 * Dragonfly's daemons put the JSON text of errordetails.v2.Backend into `grpc-status-details-bin`, not a protobuf
 * message (dragonflyoss/client@c609a77).
 *
 * They travel in an HTTP/2 header: what is longer than 6 KiB goes without the origin's header, and with as much of the
 * message as fits.
 */
export function encodeBackendDetails(details: BackendDetails): Uint8Array {
  const bytes = encode(details);
  if (bytes.byteLength <= DETAILS_LENGTH_MAX) return bytes;
  const message = details.message.slice(0, MESSAGE_LENGTH_MAX);
  return encode({ ...details, message, header: {} });
}

/** With base64 on top it stays below the 16 KiB that HTTP/2 stacks take for all headers together. */
const DETAILS_LENGTH_MAX = 6 * 1024;

/** In UTF-16 code units, six bytes each at worst (an escape such as \u0000). */
const MESSAGE_LENGTH_MAX = 800;

function encode({ message, header, statusCode }: BackendDetails): Buffer {
  return Buffer.from(JSON.stringify({ message, header, status_code: statusCode ?? null }));
}

/** The origin's answer behind `error`; undefined when there is none, or it cannot be read. */
export function backendDetails(error: Pick<RpcError, "details">): BackendDetails | undefined {
  if (error.details === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(error.details).toString("utf8"));
  } catch {
    return undefined; // details of another kind
  }
  return isBackend(value) ? fromJson(value) : undefined;
}

interface BackendJson {
  readonly message: string;
  readonly header?: object | null;
  readonly status_code?: unknown;
}

function isBackend(value: unknown): value is BackendJson {
  if (typeof value !== "object" || value === null) return false;
  if (!("message" in value) || typeof value.message !== "string") return false;
  return !("header" in value) || typeof value.header === "object";
}

function fromJson({ message, header, status_code }: BackendJson): BackendDetails {
  const texts = Object.entries(header ?? {}).filter(([, value]) => typeof value === "string");
  return {
    message,
    header: Object.fromEntries(texts) as Record<string, string>,
    ...(typeof status_code === "number" ? { statusCode: status_code } : {}),
  };
}
