// An HTTP origin with one file, as a process of its own: origin.mjs starts it, for `demo.mjs` and `npm run bench`. It makes the file, of
// random bytes, unless it is told the SHA-256 of one that is there; serves it with ranges, and counts what it sends.
import { createHash, randomFillSync } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createServer } from "node:http";

/** Random bytes are made, and the file is read, in blocks of this length. */
const BLOCK_LENGTH = 1 << 20;

const [path, lengthText, ip, knownSha256] = process.argv.slice(2);
const length = Number(lengthText);
const sha256 = knownSha256 ?? (await makeFile());
const etag = `"${sha256.slice(0, 16)}"`;
let served = 0;
let requestCount = 0;

const server = createServer(answer);
server.listen(0, ip, () => {
  process.send({ url: `http://${ip}:${server.address().port}/model.bin`, length, sha256 });
});
process.on("message", () => process.send({ served, requestCount }));
// Whoever started us is gone.
process.on("disconnect", () => process.exit());
// Ctrl-C reaches everybody in the terminal; the one who started us says when it is over.
process.on("SIGINT", () => {});

async function makeFile() {
  const hash = createHash("sha256");
  const block = Buffer.allocUnsafe(BLOCK_LENGTH);
  const file = await open(path, "wx");
  for (let offset = 0; offset < length; offset += BLOCK_LENGTH) {
    const bytes = randomFillSync(block).subarray(0, Math.min(BLOCK_LENGTH, length - offset));
    hash.update(bytes);
    await file.write(bytes, 0, bytes.byteLength, offset);
  }
  await file.close();
  return hash.digest("hex");
}

function answer(request, response) {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const start = range === null ? 0 : Number(range[1]);
  const end = Math.min(range === null ? length : Number(range[2]) + 1, length);
  if (start >= end && range !== null) {
    response.writeHead(416, { "content-range": `bytes */${length}` }).end();
    return;
  }
  response.writeHead(range === null ? 200 : 206, {
    "content-type": "application/octet-stream",
    "content-length": end - start,
    "accept-ranges": "bytes",
    etag,
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${length}` }),
  });
  if (request.method === "HEAD" || start >= end) {
    response.end();
    return;
  }
  requestCount += 1;
  const content = createReadStream(path, { start, end: end - 1, highWaterMark: BLOCK_LENGTH / 4 });
  content.on("data", (chunk) => {
    served += chunk.length;
  });
  content.on("error", () => response.destroy());
  response.on("close", () => content.destroy());
  content.pipe(response);
}
