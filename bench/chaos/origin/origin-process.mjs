// The origin of a run, as a process of its own: serves files that change, misbehaves when told to, and counts what it sends.
//
//   node origin-process.mjs START IP PORT
//
// Told by messages: `{ file }` adds one (see draw-files.mjs), `{ change: { name, cutsRunning } }` moves it to its next version,
// `{ fault: { id, how, name, retryAfterSeconds } }` begins (`name` absent: with every file), `{ heal: id }` ends it, `{ count: id }` asks for
// `{ counted: id, files }`. Every message but the last is answered with `{ done }`. Each request is a line of JSON on standard output.
import { createServer } from "node:http";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { createContent } from "../schedule/content.mjs";
import { parseRange } from "./parse-range.mjs";
import { validatorsOf } from "./validators.mjs";

/** While it is slow: bytes a second of every answer, a part at a time. */
const SLOW_RATE = 200_000;
const SLOW_PART_LENGTH = 10_000;

const [start, ip, port] = process.argv.slice(2);
/** By name: `{ spec, version, length, sent: bytes by version, running: answers under way }`. */
const files = new Map();
/** By id. */
const faults = new Map();
let requestCount = 0;

process.on("message", (message) => {
  if (message.count !== undefined) {
    process.send({ counted: message.count, files: count() });
    return;
  }
  obey(message);
  process.send({ done: true });
});
process.on("disconnect", () => process.exit());
const server = createServer((request, response) => {
  response.on("error", () => {}); // The client has left.
  answer(request, response).catch((error) => {
    console.error(error);
    process.exit(1);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), ip, () => process.send({ done: true }));

function obey({ file, change, fault, heal }) {
  if (file !== undefined) {
    const { name, length } = file;
    files.set(name, { spec: file, version: 0, length, sent: new Map(), running: new Set() });
  }
  if (change !== undefined) {
    const entry = files.get(change.name);
    entry.length = entry.spec.changes[entry.version].length;
    entry.version += 1;
    if (change.cutsRunning) for (const response of entry.running) response.destroy();
  }
  if (fault !== undefined) faults.set(fault.id, fault);
  if (heal !== undefined) faults.delete(heal);
}

function count() {
  return Object.fromEntries([...files].map(([name, { sent }]) => [name, Object.fromEntries(sent)]));
}

async function answer(request, response) {
  requestCount += 1;
  const name = new URL(request.url, "http://any").pathname.slice(1);
  const entry = files.get(name);
  const fault = [...faults.values()].find((each) => (each.name ?? name) === name);
  const line = {
    number: requestCount,
    at: new Date().toISOString(),
    client: request.socket.remoteAddress,
    method: request.method,
    name,
    range: request.headers.range,
    ifRange: request.headers["if-range"],
    fault: fault?.how,
    version: entry?.version,
    sent: 0,
  };
  response.once("close", () => {
    const ending = response.writableFinished ? "whole" : "broken off";
    console.log(JSON.stringify({ ...line, status: response.statusCode, ending }));
    entry?.running.delete(response);
  });
  if (entry === undefined) {
    response.writeHead(404).end();
    return;
  }
  entry.running.add(response);
  if (fault?.how === "silent") return;
  if (fault?.how === "reset") {
    request.socket.resetAndDestroy();
    return;
  }
  const refusal = refuse(request, fault);
  if (refusal !== undefined) {
    response.writeHead(refusal.status, { "content-type": "text/plain", ...refusal.header });
    response.end(`this is a ${refusal.status}\n`);
    return;
  }
  await serve({ request, response, entry, fault, line });
}

/** What a fault has it say in place of the file. */
function refuse({ method }, fault) {
  switch (fault?.how) {
    case "503 with Retry-After":
      return { status: 503, header: { "retry-after": String(fault.retryAfterSeconds) } };
    case "500":
      return { status: 500, header: {} };
    case "404":
      return { status: 404, header: {} };
    case "no HEAD":
      return method === "HEAD" ? { status: 405, header: { allow: "GET" } } : undefined;
    default:
      return undefined;
  }
}

async function serve({ request, response, entry, fault, line }) {
  const { spec, version, length } = entry;
  const validators = validatorsOf(spec, version);
  const canRange = spec.ranges && fault?.how !== "200 for a range";
  const ifRange = request.headers["if-range"];
  const isCurrent =
    ifRange === undefined || [validators.etag, validators["last-modified"]].includes(ifRange);
  const range = canRange && isCurrent ? parseRange(request.headers.range, length) : undefined;
  const header = {
    "content-type": "application/octet-stream",
    ...validators,
    ...(canRange ? { "accept-ranges": "bytes" } : {}),
  };
  if (range === "unsatisfiable") {
    response.writeHead(416, { ...header, "content-range": `bytes */${length}` }).end();
    return;
  }
  const { from, end } = range ?? { from: 0, end: length };
  if (range !== undefined) header["content-range"] = `bytes ${from}-${end - 1}/${length}`;
  if (!spec.isChunked || range !== undefined) header["content-length"] = end - from;
  response.writeHead(range === undefined ? 200 : 206, header);
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  const content = createContent({ start, name: spec.name, version, length });
  // A body that is cut ends somewhere in its middle.
  const cutAt = fault?.how === "cut" ? from + Math.floor((end - from) / 2) : undefined;
  await send({ response, content, from, end: cutAt ?? end, isSlow: fault?.how === "slow", line });
  entry.sent.set(version, (entry.sent.get(version) ?? 0) + line.sent);
  if (cutAt === undefined) response.end();
  else response.destroy();
}

async function send({ response, content, from, end, isSlow, line }) {
  for (let at = from; at < end && !response.destroyed;) {
    const part = content.bytes(at, isSlow ? Math.min(end, at + SLOW_PART_LENGTH) : end);
    at += part.byteLength;
    line.sent += part.byteLength;
    if (!response.write(part)) await drained(response);
    if (isSlow) await pause((part.byteLength * 1000) / SLOW_RATE);
  }
}

/** Resolves when more can be written, or when nobody is there any more. */
async function drained(response) {
  if (response.destroyed) return;
  await new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}
