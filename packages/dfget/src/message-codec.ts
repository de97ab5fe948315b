import type { Download, Piece__Output } from "@damselfly/rpc";
import { PbfReader, PbfWriter } from "pbf";

/**
 * The two messages of DownloadTask, as far as dfget uses them. The package that knows every message takes longer to load than a
 * download of a small file takes; field numbers are those of proto/dfdaemon/v2/dfdaemon.proto and proto/common/v2/common.proto.
 */
export type DaemonRequest = Pick<
  Download,
  | "url"
  | "digest"
  | "range"
  | "type"
  | "tag"
  | "application"
  | "priority"
  | "filteredQueryParams"
  | "requestHeader"
  | "pieceLength"
  | "outputPath"
  | "timeout"
  | "disableBackToSource"
  | "certificateChain"
  | "needPieceContent"
  | "forceHardLink"
  | "contentForCalculatingTaskId"
  | "overwrite"
  | "schedulingPolicy"
  | "extension"
>;

/** What is coming, or what has come. */
export interface DaemonResponse {
  readonly taskId: string;
  readonly peerId: string;
  readonly downloadTaskStartedResponse?: DaemonStart;
  readonly downloadPieceFinishedResponse?: { readonly piece?: DaemonPiece };
  readonly wait?: DaemonWait;
}

/** What the download waits for; an empty reason: something moves again. */
export interface DaemonWait {
  readonly reason: string;
  /** In words that "for 12 s" can follow. */
  readonly description: string;
  /** For how long it has lasted. Milliseconds. */
  readonly waitedMs: number;
  /** When something else is done about it, at the latest, from its beginning on. Milliseconds; 0: not known. */
  readonly boundMs: number;
}

export interface DaemonStart {
  readonly contentLength: number;
  readonly pieces: readonly Pick<DaemonPiece, "number" | "offset" | "length">[];
  /** The output appears at its path complete, or not at all: as our daemon has it, and Dragonfly's has not. */
  readonly atomicOutput: boolean;
}

export interface DaemonPiece extends Pick<
  Piece__Output,
  "number" | "offset" | "length" | "trafficType" | "parentId"
> {
  readonly content?: Uint8Array;
}

/** A DownloadTaskRequest. */
export function encodeRequest(download: DaemonRequest): Uint8Array {
  const writer = new PbfWriter();
  writer.writeMessage(1, writeDownload, download);
  return writer.finish();
}

/**
 * A DownloadTaskResponse. Content is a view into `bytes`.
 *
 * @throws {RangeError} if it is none
 */
export function decodeResponse(bytes: Uint8Array): DaemonResponse {
  const reader = new PbfReader(bytes);
  const response: Mutable<DaemonResponse> = { taskId: "", peerId: "" };
  try {
    reader.readFields(readResponse, response);
  } catch (cause) {
    throw new RangeError("Cannot decode response: it is no DownloadTaskResponse", { cause });
  }
  if (reader.pos === bytes.byteLength) return response;
  throw new RangeError(
    `Cannot decode response: it has ${bytes.byteLength} bytes, expected ${reader.pos}`,
  );
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

function writeDownload(download: DaemonRequest, writer: PbfWriter): void {
  const text = (field: number, value: string | null | undefined): void => {
    if (typeof value === "string") writeText(writer, field, value);
  };
  const flag = (field: number, value: boolean | undefined): void => {
    if (value === true) writer.writeBooleanField(field, true);
  };
  text(1, download.url);
  text(2, download.digest);
  if (download.range) writer.writeMessage(3, writeRange, download.range);
  writer.writeVarintField(4, numberOf(TASK_TYPES, download.type));
  text(5, download.tag);
  text(6, download.application);
  writer.writeVarintField(7, numberOf(PRIORITIES, download.priority));
  for (const name of download.filteredQueryParams ?? []) writeText(writer, 8, name);
  for (const entry of Object.entries(download.requestHeader ?? {}))
    writer.writeMessage(9, writeEntry, entry);
  if (typeof download.pieceLength === "number") writer.writeVarintField(10, download.pieceLength);
  text(11, download.outputPath);
  if (download.timeout) writer.writeMessage(12, writeDuration, download.timeout);
  flag(13, download.disableBackToSource);
  for (const der of download.certificateChain ?? []) writer.writeBytesField(15, der);
  flag(20, download.needPieceContent);
  flag(22, download.forceHardLink);
  text(23, download.contentForCalculatingTaskId);
  flag(26, download.overwrite);
  writer.writeVarintField(35, numberOf(SCHEDULING_POLICIES, download.schedulingPolicy));
  if (download.extension) writer.writeMessage(1000, writeExtension, download.extension);
}

function writeRange({ start, length }: NonNullable<Download["range"]>, writer: PbfWriter): void {
  writer.writeVarintField(1, start ?? 0);
  writer.writeVarintField(2, length ?? 0);
}

function writeEntry([name, value]: [string, string], writer: PbfWriter): void {
  writeText(writer, 1, name);
  writeText(writer, 2, value);
}

function writeDuration(
  { seconds, nanos }: NonNullable<Download["timeout"]>,
  writer: PbfWriter,
): void {
  writer.writeVarintField(1, seconds ?? 0);
  writer.writeVarintField(2, nanos ?? 0);
}

function writeExtension(
  { insecureSkipVerify, revalidate, uid }: NonNullable<Download["extension"]>,
  writer: PbfWriter,
): void {
  if (insecureSkipVerify === true) writer.writeBooleanField(1, true);
  if (revalidate === true) writer.writeBooleanField(2, true);
  if (uid !== undefined) writer.writeVarintField(3, uid);
}

function readResponse(field: number, response: Mutable<DaemonResponse>, reader: PbfReader): void {
  if (field === 2) response.taskId = readText(reader);
  else if (field === 3) response.peerId = readText(reader);
  else if (field === 4) {
    const started = { contentLength: 0, pieces: [], atomicOutput: false };
    response.downloadTaskStartedResponse = reader.readMessage(readStarted, started);
  } else if (field === 5) {
    response.downloadPieceFinishedResponse = reader.readMessage(readFinished, {});
  } else if (field === 1000) {
    const wait = { reason: "", description: "", waitedMs: 0, boundMs: 0 };
    response.wait = reader.readMessage(readWait, wait);
  }
}

function readWait(field: number, wait: Mutable<DaemonWait>, reader: PbfReader): void {
  if (field === 1) wait.reason = readText(reader);
  else if (field === 2) wait.description = readText(reader);
  else if (field === 3) wait.waitedMs = reader.readVarint();
  else if (field === 4) wait.boundMs = reader.readVarint();
}

function readStarted(
  field: number,
  started: Mutable<DaemonStart> & { pieces: DaemonPiece[] },
  reader: PbfReader,
): void {
  if (field === 1) started.contentLength = reader.readVarint();
  else if (field === 4) started.pieces.push(readPieceMessage(reader));
  else if (field === 1000) reader.readMessage(readStartExtension, started);
}

function readStartExtension(field: number, started: Mutable<DaemonStart>, reader: PbfReader): void {
  if (field === 1) started.atomicOutput = reader.readBoolean();
}

function readFinished(field: number, finished: { piece?: DaemonPiece }, reader: PbfReader): void {
  if (field === 1) finished.piece = readPieceMessage(reader);
}

function readPieceMessage(reader: PbfReader): DaemonPiece {
  const piece: DaemonPiece = { number: 0, offset: 0, length: 0 };
  return reader.readMessage(readPiece, piece);
}

function readPiece(field: number, piece: Mutable<DaemonPiece>, reader: PbfReader): void {
  if (field === 1) piece.number = reader.readVarint();
  else if (field === 2) piece.parentId = readText(reader);
  else if (field === 3) piece.offset = reader.readVarint();
  else if (field === 4) piece.length = reader.readVarint();
  else if (field === 6) piece.content = reader.readBytes();
  else if (field === 7) {
    const name = TRAFFIC_TYPES[reader.readVarint()];
    if (name !== undefined) piece.trafficType = name;
  }
}

/** Not by pbf itself: its UTF-8 takes characters of the planes from 2 on for others (5.1.2). */
function writeText(writer: PbfWriter, field: number, text: string): void {
  writer.writeBytesField(field, Buffer.from(text));
}

function readText(reader: PbfReader): string {
  const { buffer, byteOffset, byteLength } = reader.readBytes();
  return Buffer.from(buffer, byteOffset, byteLength).toString();
}

/** Names in the order of their numbers. */
function numberOf(names: readonly string[], value: string | number | undefined): number {
  return typeof value === "string" ? Math.max(names.indexOf(value), 0) : (value ?? 0);
}

const TASK_TYPES = ["STANDARD", "PERSISTENT", "PERSISTENT_CACHE", "CACHE"];
const PRIORITIES = ["LEVEL0", "LEVEL1", "LEVEL2", "LEVEL3", "LEVEL4", "LEVEL5", "LEVEL6"];
const SCHEDULING_POLICIES = ["AUTO", "ALWAYS"];
const TRAFFIC_TYPES = ["BACK_TO_SOURCE", "REMOTE_PEER", "LOCAL_PEER"] as const;
