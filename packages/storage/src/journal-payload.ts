import { isDigest } from "./digester.ts";
import type { Fingerprint } from "./fingerprint.ts";
import type { JournalRecord } from "./journal-format.ts";
import { isTaskId } from "./paths.ts";
import type { PieceRecord, TaskFacts, TrafficType } from "./storage.ts";

/** Checks every field of a payload; undefined: it is not what a record of that type holds. */
export function decodePayload(
  type: JournalRecord["type"],
  json: string,
): JournalRecord | undefined {
  const content = parseObject(json);
  if (content === undefined) return undefined;
  if (type === "facts") {
    const facts = content["facts"];
    return isFacts(facts) ? { type, facts } : undefined;
  }
  if (type === "piece") {
    const piece = content["piece"];
    return isPiece(piece) ? { type, piece } : undefined;
  }
  if (type === "withdrawn") {
    const number = content["number"];
    return isCount(number) ? { type, number } : undefined;
  }
  const fingerprint = toFingerprint(content["fingerprint"]);
  return fingerprint === undefined ? undefined : { type, fingerprint };
}

function isFacts(value: unknown): value is TaskFacts {
  return (
    isObject(value) &&
    isText(value["taskId"]) &&
    isTaskId(value["taskId"]) &&
    isText(value["url"]) &&
    isCount(value["contentLength"]) &&
    isCount(value["pieceLength"]) &&
    value["pieceLength"] > 0 &&
    isText(value["contentVersion"]) &&
    isText(value["etag"]) &&
    isText(value["lastModified"]) &&
    isObject(value["responseHeader"]) &&
    Object.values(value["responseHeader"]).every(isText) &&
    isOptionalTexts(value["contentDigests"]) &&
    isText(value["credentialsDigest"]) &&
    isCount(value["createdAtMs"])
  );
}

function isPiece(value: unknown): value is PieceRecord {
  return (
    isObject(value) &&
    isCount(value["number"]) &&
    isCount(value["offset"]) &&
    isCount(value["length"]) &&
    isText(value["digest"]) &&
    isDigest(value["digest"]) &&
    isStrongDigest(value["strongDigest"]) &&
    TRAFFIC_TYPES.includes(value["trafficType"]) &&
    isText(value["parentId"]) &&
    typeof value["costMs"] === "number" &&
    isCount(value["createdAtMs"])
  );
}

function isStrongDigest(value: unknown): boolean {
  return value === undefined || (isText(value) && isDigest(value));
}

function toFingerprint(value: unknown): Fingerprint | undefined {
  if (!isObject(value)) return undefined;
  const { size, mtimeNs, ctimeNs, ino } = value;
  if (!isInteger(size) || !isInteger(mtimeNs) || !isInteger(ctimeNs) || !isInteger(ino)) {
    return undefined;
  }
  return {
    size: BigInt(size),
    mtimeNs: BigInt(mtimeNs),
    ctimeNs: BigInt(ctimeNs),
    ino: BigInt(ino),
  };
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // The caller says what is wrong and where.
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** Absent in what earlier versions have written. */
function isOptionalTexts(value: unknown): value is readonly string[] | undefined {
  return value === undefined || (Array.isArray(value) && value.every(isText));
}

function isInteger(value: unknown): value is string {
  return typeof value === "string" && /^-?\d{1,20}$/.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

const TRAFFIC_TYPES: readonly unknown[] = [
  "BACK_TO_SOURCE",
  "REMOTE_PEER",
  "LOCAL_PEER",
] satisfies readonly TrafficType[];
