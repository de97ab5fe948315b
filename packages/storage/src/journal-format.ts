import { crc32 } from "node:zlib";

import type { Fingerprint } from "./fingerprint.ts";
import { decodePayload } from "./journal-payload.ts";
import type { PieceRecord, TaskFacts } from "./storage.ts";

/**
 * The journal of a task: a header, then records, one behind the other. Numbers are big-endian.
 *
 *     header, 16 bytes                      record, 9 bytes + payload
 *     offset  size  field                   offset  size  field
 *          0     8  "DMSLJRNL"                   0     4  payload length
 *          8     4  format version               4     4  CRC-32 of the type and the payload
 *         12     4  CRC-32 of the 12 above       8     1  type, see `RECORD_TYPES`
 *                                                9        payload, JSON (so that `strings` shows what a journal says)
 *
 * The first record holds the task's facts. A reader that meets a higher version or an unknown type must leave the journal alone.
 */
export type JournalRecord =
  /** What the task is. A later one replaces it, lengths and content version staying the same. */
  | { readonly type: "facts"; readonly facts: TaskFacts }
  /** A piece is on disk and its digest matched. */
  | { readonly type: "piece"; readonly piece: PieceRecord }
  /** A piece was found damaged. */
  | { readonly type: "withdrawn"; readonly number: number }
  /** All pieces are there and synced; the file looked like this. */
  | { readonly type: "sealed"; readonly fingerprint: Fingerprint }
  /** The file was trusted when it looked like this: after a link of our own, a check of all pieces, or an orderly stop. */
  | { readonly type: "fingerprint"; readonly fingerprint: Fingerprint };

/** What a journal says when read from its start. */
export interface JournalState {
  facts: TaskFacts | undefined;
  readonly pieces: Map<number, PieceRecord>;
  sealed: boolean;
  /** Undefined: pieces were written after the file was last looked at, so nothing is known about it. */
  fingerprint: Fingerprint | undefined;
}

/** How a journal ended. */
export type JournalEnd =
  /** With its last record. */
  | "clean"
  /** Inside a record, as a write that was cut short leaves it. */
  | "torn"
  /** At bytes that no writer of this version leaves. */
  | "damaged"
  /** At a version or a record type that is not known here. */
  | "newer";

export interface DecodedJournal {
  readonly state: JournalState;
  readonly end: JournalEnd;
  /** Bytes up to the end of the last good record; 0 if not even the header is good. */
  readonly validLength: number;
  /** Whole records beyond bytes that are not, in order. What the bytes between said is unknown: see `recoverState`. */
  readonly later: readonly JournalRecord[];
}

export function encodeJournal(records: readonly JournalRecord[]): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32BE(VERSION, 8);
  header.writeUInt32BE(crc32(header.subarray(0, 12)), 12);
  return Buffer.concat([header, ...records.map(encodeRecord)]);
}

export function encodeRecord(record: JournalRecord): Buffer {
  const { type, ...content } = record;
  // Numbers of 64 bits travel as text: JSON has no place for them.
  const json = JSON.stringify(content, (_key, value: unknown) =>
    typeof value === "bigint" ? value.toString() : value,
  );
  const payload = Buffer.from(json);
  const bytes = Buffer.alloc(RECORD_HEADER_LENGTH + payload.byteLength);
  bytes.writeUInt32BE(payload.byteLength, 0);
  bytes.writeUInt8(RECORD_TYPES.indexOf(type) + 1, 8);
  payload.copy(bytes, RECORD_HEADER_LENGTH);
  bytes.writeUInt32BE(crc32(bytes.subarray(8)), 4);
  return bytes;
}

/** Reads as far as the bytes can be trusted. Never throws: any bytes whatever have some good prefix, maybe an empty one. */
export function decodeJournal(bytes: Buffer): DecodedJournal {
  const state: JournalState = {
    facts: undefined,
    pieces: new Map(),
    sealed: false,
    fingerprint: undefined,
  };
  const headerEnd = endOfHeader(bytes);
  if (headerEnd !== undefined) return broken(bytes, { state, end: headerEnd, validLength: 0 });

  let position = HEADER_LENGTH;
  while (position < bytes.byteLength) {
    const step = decodeRecord(bytes, position);
    const end = step.end ?? (applyRecord(state, step.record) ? undefined : "damaged");
    if (end !== undefined) return broken(bytes, { state, end, validLength: position });
    position = step.position ?? bytes.byteLength;
  }
  return { state, end: "clean", validLength: position, later: [] };
}

/** What ends early is torn only if nothing follows. */
function broken(bytes: Buffer, ended: Omit<DecodedJournal, "later">): DecodedJournal {
  if (ended.end === "newer") return { ...ended, later: [] };
  const found = findRecords(bytes, ended.validLength);
  if (found === "newer") return { ...ended, end: "newer", later: [] };
  return { ...ended, end: found.length > 0 ? "damaged" : ended.end, later: found };
}

/** Every whole record from there on, wherever it begins: its checksum tells it from other bytes. */
function findRecords(bytes: Buffer, start: number): JournalRecord[] | "newer" {
  const records: JournalRecord[] = [];
  let position = start;
  while (position + RECORD_HEADER_LENGTH < bytes.byteLength) {
    // Every payload is a JSON object: one byte of 256 is looked at twice.
    const isCandidate = bytes[position + RECORD_HEADER_LENGTH] === OPENING_BRACE;
    const step = isCandidate ? decodeRecord(bytes, position) : undefined;
    if (step?.end === "newer") return "newer";
    if (step?.record === undefined) {
      position += 1;
      continue;
    }
    records.push(step.record);
    position = step.position;
  }
  return records;
}

/** The records that lead to `state`, and no others. */
export function compactRecords(state: JournalState & { facts: TaskFacts }): JournalRecord[] {
  const facts: JournalRecord = { type: "facts", facts: state.facts };
  const records: JournalRecord[] = [facts];
  for (const piece of state.pieces.values()) records.push({ type: "piece", piece });
  // Twice: without them no piece is worth anything, and damage is seldom in two places.
  if (state.pieces.size > 0) records.push(facts);
  if (state.fingerprint !== undefined) {
    const { fingerprint } = state;
    // Pieces are withdrawn at any moment, also between a decision to seal and this.
    const sealed = state.sealed && state.pieces.size === pieceCountOf(state.facts);
    records.push({ type: sealed ? "sealed" : "fingerprint", fingerprint });
  }
  return records;
}

export function pieceCountOf(facts: Pick<TaskFacts, "contentLength" | "pieceLength">): number {
  return Math.ceil(facts.contentLength / facts.pieceLength);
}

/** False: the record makes no sense here, though its bytes are as they were written. */
function applyRecord(state: JournalState, record: JournalRecord): boolean {
  const { facts } = state;
  if (record.type === "facts") {
    if (facts !== undefined && !sameShape(facts, record.facts)) return false;
    state.facts = record.facts;
    return true;
  }
  if (facts === undefined) return false;

  switch (record.type) {
    case "piece":
      if (!fits(record.piece, facts)) return false;
      state.pieces.set(record.piece.number, record.piece);
      state.sealed = false;
      state.fingerprint = undefined;
      break;
    case "withdrawn":
      state.pieces.delete(record.number);
      state.sealed = false;
      break;
    case "sealed":
      if (state.pieces.size !== pieceCountOf(facts)) return false;
      state.sealed = true;
      state.fingerprint = record.fingerprint;
      break;
    case "fingerprint":
      state.fingerprint = record.fingerprint;
      break;
  }
  return true;
}

/** Two descriptions of the same bytes. */
export function sameShape(left: TaskFacts, right: TaskFacts): boolean {
  return (
    left.taskId === right.taskId &&
    left.contentLength === right.contentLength &&
    left.pieceLength === right.pieceLength &&
    left.contentVersion === right.contentVersion
  );
}

/** Whether it is a piece of that task. */
export function fits(piece: PieceRecord, facts: TaskFacts): boolean {
  const offset = piece.number * facts.pieceLength;
  return (
    piece.number < pieceCountOf(facts) &&
    piece.offset === offset &&
    piece.length === Math.min(facts.pieceLength, facts.contentLength - offset)
  );
}

/** Undefined: the header is good. */
function endOfHeader(bytes: Buffer): JournalEnd | undefined {
  if (bytes.byteLength < HEADER_LENGTH || isZero(bytes)) return "torn";
  if (bytes.toString("latin1", 0, 8) !== MAGIC) return "damaged";
  if (bytes.readUInt32BE(12) !== crc32(bytes.subarray(0, 12))) return "damaged";
  const version = bytes.readUInt32BE(8);
  if (version > VERSION) return "newer";
  return version === VERSION ? undefined : "damaged";
}

type DecodeStep =
  | { readonly end: JournalEnd; readonly record?: undefined; readonly position?: undefined }
  | { readonly end?: undefined; readonly record: JournalRecord; readonly position: number };

function decodeRecord(bytes: Buffer, position: number): DecodeStep {
  if (bytes.byteLength - position < RECORD_HEADER_LENGTH) return { end: "torn" };
  const payloadStart = position + RECORD_HEADER_LENGTH;
  const payloadEnd = payloadStart + bytes.readUInt32BE(position);
  if (payloadEnd > bytes.byteLength) return { end: "torn" };
  if (crc32(bytes.subarray(position + 8, payloadEnd)) !== bytes.readUInt32BE(position + 4)) {
    // A power failure may leave the length of the file but not the bytes at its end.
    const last = payloadEnd === bytes.byteLength || isZero(bytes.subarray(position));
    return { end: last ? "torn" : "damaged" };
  }
  const type = RECORD_TYPES[bytes.readUInt8(position + 8) - 1];
  if (type === undefined) return { end: "newer" };
  const record = decodePayload(type, bytes.toString("utf8", payloadStart, payloadEnd));
  return record === undefined ? { end: "damaged" } : { record, position: payloadEnd };
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

const MAGIC = "DMSLJRNL";
const VERSION = 1;
const HEADER_LENGTH = 16;
const RECORD_HEADER_LENGTH = 9;
const OPENING_BRACE = 0x7b;
/** The type byte is the position here, plus one: zeros are no record. Append only. */
const RECORD_TYPES = ["facts", "piece", "withdrawn", "sealed", "fingerprint"] as const;
