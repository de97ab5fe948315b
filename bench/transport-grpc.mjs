// How fast transport-grpc moves pieces between two processes on loopback, memory to memory. Build first, then:
//
//   node bench/transport-grpc.mjs [--mib 1024] [--piece 4] [--concurrency 4] [--plain]
//
// Prints MB/s, CPU seconds of both sides and the child's peak memory, with the inputs.
import { createGrpcDownloader, serveGrpc } from "@damselfly/transport-grpc";
import { createTestAuthority } from "@damselfly/rpc/testing";
import { fork } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    mib: { type: "string", default: "1024" },
    piece: { type: "string", default: "4" },
    concurrency: { type: "string", default: "4" },
    plain: { type: "boolean", default: false },
  },
});
const MIB = 1 << 20;

if (process.send !== undefined) await serveChild();
else await measure();

/** The other process: serves the same bytes as every piece until told to stop. */
async function serveChild() {
  const [{ tls, pieceLength }] = await once(process, "message");
  const memory = Buffer.alloc(pieceLength, "damselfly ");
  const source = {
    openPiece: async ({ pieceNumber }) => ({
      piece: { number: pieceNumber, offset: 0, length: pieceLength, digest: "crc32:0" },
      content: chunksOf(memory),
      [Symbol.asyncDispose]: async () => {},
    }),
  };
  const server = await serveGrpc({ source, tls, address: { ip: "127.0.0.1", port: 0 } });
  process.send(server.address);
  await once(process, "message");
  process.send({ cpu: process.cpuUsage(), maxRss: process.resourceUsage().maxRSS });
  process.disconnect();
  await server.abort();
}

/** As storage reads: 256 KiB at a time. */
async function* chunksOf(memory) {
  for (let start = 0; start < memory.byteLength; start += 262_144) {
    yield memory.subarray(start, start + 262_144);
  }
}

async function measure() {
  const pieceLength = Number(values.piece) * MIB;
  const pieceCount = Math.ceil((Number(values.mib) * MIB) / pieceLength);
  const tls = values.plain ? undefined : await (await createTestAuthority()).issue();
  const server = fork(fileURLToPath(import.meta.url), { stdio: "inherit" });
  const { ip, port } = await ask(server, { tls, pieceLength });
  const parent = { hostId: "bench", ip, ports: { grpc: port } };
  const downloader = createGrpcDownloader({ tls });
  await download(downloader, parent, 0); // connected, compiled

  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  let next = 0;
  let received = 0;
  await Promise.all(
    Array.from({ length: Number(values.concurrency) }, async () => {
      while (next < pieceCount) {
        next += 1;
        const length = await download(downloader, parent, next);
        received += length; // not in one go: the sum would be read before the wait
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const { cpu, maxRss } = await ask(server, "stop");
  await downloader[Symbol.asyncDispose]();

  const { model } = cpus()[0];
  console.log(
    `transport-grpc ${values.plain ? "plain" : "TLS"}: ${(received / 1e6 / seconds).toFixed(0)} MB/s` +
      ` (${values.mib} MiB in pieces of ${values.piece} MiB, ${values.concurrency} at once, two processes, loopback)\n` +
      `  CPU s: child ${((user + system) / 1e6).toFixed(2)}, parent ${((cpu.user + cpu.system) / 1e6).toFixed(2)}` +
      ` · peak MB: child ${(process.resourceUsage().maxRSS / 1000).toFixed(0)}, parent ${(maxRss / 1000).toFixed(0)}` +
      ` · ${cpus().length} x ${model}, Node ${process.versions.node}`,
  );
}

async function download(downloader, parent, pieceNumber) {
  const { content } = await downloader.downloadPiece(parent, {
    taskId: "0".repeat(64),
    pieceNumber,
  });
  let received = 0;
  for await (const chunk of content) received += chunk.byteLength;
  return received;
}

function ask(child, message) {
  return new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", (code) => reject(new Error(`the serving process ended with ${code}`)));
    child.send(message);
  });
}
