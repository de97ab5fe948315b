import type { ScriptedAnswer } from "./origin-script.ts";

/** What an origin was asked. */
export interface OriginQuestion {
  readonly method: string;
  readonly range: { readonly first: number; readonly last: number } | undefined;
  readonly ifRange: string | undefined;
}

/** An answer as it goes over the wire. */
export interface WireAnswer {
  readonly head: Buffer;
  /** As sent: in chunks, where the header says so. */
  readonly body: Buffer;
  /** Whether everything about it is true, and it is there as a whole. */
  readonly isHonest: boolean;
}

/** Content of a version: each four bytes say where they are and of which version, so that none can stand in for others. */
export function contentOf(version: number, length: number): Buffer {
  const content = Buffer.alloc(Math.ceil(length / 4) * 4);
  for (let at = 0; at < content.byteLength; at += 4) {
    content.writeUInt32BE((version << 28) + at, at);
  }
  return content.subarray(0, length);
}

export function etagOf(version: number): string {
  return `"v${version}"`;
}

/** What a script's answer becomes, given the question. */
export function createAnswer(
  answer: ScriptedAnswer,
  question: OriginQuestion,
  contents: readonly Buffer[],
): WireAnswer {
  if (answer.kind === "raw") {
    return { head: Buffer.from(answer.bytes), body: Buffer.alloc(0), isHonest: false };
  }
  const head = bend(Buffer.from(honestHead(answer, question, contents)), answer.edits);
  const body = bodyOf(head.toString("latin1"), answer, question, contents);
  const { cutAt } = answer;
  const sent = cutAt === undefined ? body : body.subarray(0, cutAt);
  return {
    head,
    body: sent,
    isHonest: answer.kind === "honest" && sent.byteLength === body.byteLength,
  };
}

function honestHead(
  answer: ScriptedAnswer,
  { range, ifRange }: OriginQuestion,
  contents: readonly Buffer[],
): string {
  const { version, framing, takesRanges, location } = answer;
  const total = contents[version]?.byteLength ?? 0;
  const isSameVersion = ifRange === undefined || ifRange === etagOf(version);
  const isPart = takesRanges && range !== undefined && range.first < total && isSameVersion;
  // A good origin's status follows from the question; others come as they are.
  const isFile = answer.statusCode === 200 || answer.statusCode === 206;
  const statusCode = isFile ? (isPart ? 206 : 200) : answer.statusCode;
  const first = isPart ? range.first : 0;
  const last = isPart ? Math.min(range.last, total - 1) : total - 1;
  const lines = [`HTTP/1.1 ${statusCode} Some Reason`, `etag: ${etagOf(version)}`];
  if (takesRanges) lines.push("accept-ranges: bytes");
  if (statusCode === 206) lines.push(`content-range: bytes ${first}-${last}/${total}`);
  if (statusCode === 416) lines.push(`content-range: bytes */${total}`);
  if (statusCode >= 300 && statusCode < 400) lines.push(`location: ${location}`);
  if (statusCode === 503 || statusCode === 429) lines.push("retry-after: 1");
  if (framing === "length") lines.push(`content-length: ${last - first + 1}`);
  if (framing === "chunked") lines.push("transfer-encoding: chunked");
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function bend(head: Buffer, edits: ScriptedAnswer["edits"]): Buffer {
  let bent = head;
  for (const { at, replacement } of edits) {
    const start = at % (bent.byteLength + 1);
    // Over what is there, or in between.
    const end = at & 0x8000 ? start : start + replacement.byteLength;
    bent = Buffer.concat([bent.subarray(0, start), replacement, bent.subarray(end)]);
  }
  return bent;
}

/** The bytes that the header speaks of, bent or not: what is wrong about an answer must show in its header, or not at all. */
function bodyOf(
  head: string,
  answer: ScriptedAnswer,
  { method, ifRange }: OriginQuestion,
  contents: readonly Buffer[],
): Buffer {
  if (method === "HEAD") return Buffer.alloc(0);
  const told = /^etag: "v(\d)"\r$/im.exec(head)?.[1];
  // Who says nothing of its version stands by what it was asked for.
  const asked = /^"v(\d)"$/.exec(ifRange ?? "")?.[1];
  const version = Number(told ?? asked ?? answer.version);
  const content = contents[version] ?? Buffer.alloc(0);
  const range = /^content-range: bytes (\d+)-(\d+)\//im.exec(head);
  const first = Number(range?.[1] ?? 0);
  const last = Number(range?.[2] ?? content.byteLength);
  const body = content.subarray(first, last + 1);
  return /^transfer-encoding: chunked\r$/im.test(head) ? inChunks(body) : body;
}

function inChunks(body: Buffer): Buffer {
  const half = Math.floor(body.byteLength / 2);
  const chunks = [body.subarray(0, half), body.subarray(half)].filter((one) => one.byteLength > 0);
  return Buffer.concat([
    ...chunks.flatMap((chunk) => [
      Buffer.from(`${chunk.byteLength.toString(16)}\r\n`),
      chunk,
      Buffer.from("\r\n"),
    ]),
    Buffer.from("0\r\n\r\n"),
  ]);
}
