import { isIP } from "node:net";
import type {
  AnnounceHostRequest__Output,
  Download__Output,
  Host__Output,
  Peer__Output,
  Piece__Output,
} from "@damselfly/rpc";
import { SchedulerError } from "./errors.ts";
import { textLengthOf } from "./text-length.ts";

/*
 * The rules for messages: those that Dragonfly's own scheduler enforces (the validation rules of its api 2.3.8), and an
 * upper bound where it has none. All of them throw `ERR_INVALID_MESSAGE`.
 */

const DIGEST = /^(?:(?:md5|sha1|sha256|sha512|blake3):[0-9a-f]+|crc32:[0-9a-f]+)$/i;
const PIECE_LENGTH_MIN = 4 * 1024 * 1024;
const PIECE_LENGTH_MAX = 64 * 1024 * 1024;
const PORT_MIN = 1_024;
const PORT_MAX = 65_534;
const HOST_TYPE_MAX = 3;
/** Characters. Ids of Dragonfly's daemons have up to 255 + 64. */
const ID_LENGTH_MAX = 1_024;
/** Characters; signed URLs of object stores have some 2,000. */
const URL_LENGTH_MAX = 64 * 1_024;
/** Characters; sha512 has 135. */
const DIGEST_LENGTH_MAX = 256;
/** Characters of all that a host says of itself; a few hundred are usual. */
const HOST_LENGTH_MAX = 16 * 1_024;
/** Characters of the version of a content: an ETag, or what stands for one. */
const VERSION_LENGTH_MAX = 1_024;

export function assertId(id: string, field: string): void {
  if (id === "") reject(field, "is empty");
  if (id.length > ID_LENGTH_MAX) {
    reject(field, `has ${id.length} characters, limit is ${ID_LENGTH_MAX}`);
  }
}

export function assertAnnouncement(request: AnnounceHostRequest__Output): Host__Output {
  const { host, interval } = request;
  if (host === null) return reject("host", "is missing");
  if (interval !== undefined && interval !== null && interval.seconds < 0) {
    reject("interval", "is negative");
  }
  assertHost(host);
  for (const percent of [host.cpu?.percent ?? 0, host.cpu?.processPercent ?? 0]) {
    if (!(percent >= 0)) reject("host.cpu", `percent is ${percent}, expected 0 or more`);
  }
  for (const percent of [host.memory?.usedPercent ?? 0, host.disk?.usedPercent ?? 0]) {
    if (!(percent >= 0 && percent <= 100)) {
      reject("host", `used_percent is ${percent}, expected 0 to 100`);
    }
  }
  return host;
}

/** @param lengthMax of all its texts, in bytes */
export function assertDownload(
  download: Download__Output | null,
  lengthMax: number = Infinity,
): Download__Output {
  if (download === null) return reject("download", "is missing");
  const length = textLengthOf(download);
  if (length > lengthMax) reject("download", `has ${length} bytes, limit is ${lengthMax}`);
  assertUrl(download.url, "download.url");
  if (download.digest !== undefined) assertDigest(download.digest, "download.digest");
  assertKnown(download.type, "download.type");
  assertKnown(download.priority, "download.priority");
  assertKnown(download.schedulingPolicy, "download.scheduling_policy");
  const { pieceLength, actualPieceLength } = download;
  if (
    pieceLength !== undefined &&
    !(pieceLength >= PIECE_LENGTH_MIN && pieceLength <= PIECE_LENGTH_MAX)
  ) {
    reject(
      "download.piece_length",
      `is ${pieceLength}, expected ${PIECE_LENGTH_MIN} to ${PIECE_LENGTH_MAX}`,
    );
  }
  for (const count of [
    download.actualContentLength,
    actualPieceLength,
    download.actualPieceCount,
  ]) {
    if (count !== undefined && !Number.isSafeInteger(count)) {
      reject("download", `says ${count}, which is no exact number here`);
    }
  }
  if (download.outputPath === "") reject("download.output_path", "is empty");
  if (download.remoteIp !== undefined && isIP(download.remoteIp) === 0) {
    reject("download.remote_ip", `is ${download.remoteIp}, expected an IP`);
  }
  const { objectStorage } = download;
  if (objectStorage?.accessKeyId === "" || objectStorage?.accessKeySecret === "") {
    reject("download.object_storage", "has an empty access key");
  }
  for (const hub of [download.huggingFace, download.modelScope, download.openCsg]) {
    if (hub === undefined || hub === null) continue;
    if (hub.revision === "") reject("download", "names a hub without a revision");
    if (hub.baseUrl !== undefined) assertUrl(hub.baseUrl, "base_url");
  }
  return download;
}

export function assertPiece(piece: Piece__Output | null): Piece__Output {
  if (piece === null) return reject("piece", "is missing");
  if (piece.cost === null) reject("piece.cost", "is missing");
  if (piece.createdAt === null) reject("piece.created_at", "is missing");
  if (piece.parentId !== undefined) assertId(piece.parentId, "piece.parent_id");
  if (piece.content !== undefined && piece.content.length === 0)
    reject("piece.content", "is empty");
  if (piece.digest !== "") assertDigest(piece.digest, "piece.digest");
  if (piece.strongDigest !== "") assertDigest(piece.strongDigest, "piece.strong_digest");
  return piece;
}

export function assertVersion(version: string): string {
  if (version.length <= VERSION_LENGTH_MAX) return version;
  return reject(
    "content_version",
    `has ${version.length} characters, limit is ${VERSION_LENGTH_MAX}`,
  );
}

/** A parent as a child names it when it wants others. */
export function assertCandidate(peer: Peer__Output): Peer__Output {
  assertId(peer.id, "candidate_parents.id");
  if (peer.state === "") reject("candidate_parents.state", "is empty");
  for (const field of ["cost", "task", "host", "createdAt", "updatedAt"] as const) {
    if (peer[field] === null) reject(`candidate_parents.${field}`, "is missing");
  }
  if (peer.host !== null) assertHost(peer.host);
  return peer;
}

function assertHost(host: Host__Output): void {
  const length = textLengthOf(host);
  if (length > HOST_LENGTH_MAX) {
    reject("host", `has ${length} bytes, limit is ${HOST_LENGTH_MAX}`);
  }
  assertId(host.id, "host.id");
  assertId(host.hostname, "host.hostname");
  if (host.type > HOST_TYPE_MAX) reject("host.type", `is ${host.type}, limit is ${HOST_TYPE_MAX}`);
  if (isIP(host.ip) === 0) reject("host.ip", `is ${host.ip || "empty"}, expected an IP`);
  for (const port of [host.port, host.downloadPort]) {
    if (!(port >= PORT_MIN && port <= PORT_MAX)) {
      reject("host.port", `is ${port}, expected ${PORT_MIN} to ${PORT_MAX}`);
    }
  }
}

function assertUrl(url: string, field: string): void {
  if (url.length > URL_LENGTH_MAX) {
    reject(field, `has ${url.length} characters, limit is ${URL_LENGTH_MAX}`);
  }
  if (!URL.canParse(url)) reject(field, "is no URL");
}

function assertDigest(digest: string, field: string): void {
  if (digest.length > DIGEST_LENGTH_MAX || !DIGEST.test(digest)) {
    reject(field, `is ${digest.slice(0, 80)}, expected an algorithm, a colon and its hex digits`);
  }
}

/** Enumerations arrive by name; a number is one that this version does not know. */
function assertKnown(value: unknown, field: string): void {
  if (typeof value === "number") reject(field, `is ${value}, which is not known here`);
}

function reject(field: string, what: string): never {
  throw new SchedulerError("ERR_INVALID_MESSAGE", `invalid message: ${field} ${what}`);
}
