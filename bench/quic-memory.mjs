// Measures the QUIC engine alone, memory to memory: one process serves pieces, another downloads them.
//
//   npm run build && node bench/quic-memory.mjs [--packet 1350,16383] [--piece-mib 4] [--pieces 128] [--parallel 4] [--runs 3]
//
// Prints MB/s (10^6 bytes), CPU seconds per GB and peak memory of each side. Plain dgram, loopback, mutual TLS off.
import { fork } from "node:child_process";
import { cpus, release } from "node:os";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { openQuicEndpoint } from "../packages/quic/dist/index.js";

const MIB = 1024 * 1024;
const { values } = parseArgs({
  options: {
    packet: { type: "string", default: "1350,16383" },
    "piece-mib": { type: "string", default: "4" },
    pieces: { type: "string", default: "128" },
    parallel: { type: "string", default: "4" },
    runs: { type: "string", default: "3" },
    serve: { type: "boolean", default: false },
  },
});
const pieceLength = Number(values["piece-mib"]) * MIB;

if (values.serve) await serve();
else await main();

/** The sending process: every stream gets one piece. */
async function serve() {
  const piece = Buffer.alloc(pieceLength, 7);
  const endpoint = await openQuicEndpoint({
    address: { ip: "127.0.0.1", port: 0 },
    alpn: "bench",
    tls: "insecure",
    packetLength: Number(values.packet),
    accept(connection) {
      connection.onStream = (stream) => {
        answer(stream).catch((error) => console.error(error));
      };
    },
  });
  async function answer(stream) {
    const request = new Uint8Array(64);
    while ((await stream.read(request)) > 0);
    for (let offset = 0; offset < piece.byteLength; offset += MIB) {
      await stream.write(piece.subarray(offset, offset + MIB));
    }
    await stream.end();
  }
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send({ cpuMs: (user + system) / 1000, rssKib: process.resourceUsage().maxRSS });
    process.disconnect();
    void endpoint[Symbol.asyncDispose]();
  });
  process.send(endpoint.address.port);
}

async function main() {
  console.log(
    `# ${cpus().length} x ${cpus()[0].model}, Linux ${release()}, Node ${process.version}`,
  );
  console.log(
    `# ${values.pieces} pieces of ${values["piece-mib"]} MiB, ${values.parallel} at once`,
  );
  for (const packet of values.packet.split(",").map(Number)) {
    for (let run = 0; run < Number(values.runs); run++) await measure(packet);
  }
}

async function measure(packet) {
  const server = fork(new URL(import.meta.url), [
    "--serve",
    "--packet",
    String(packet),
    "--piece-mib",
    values["piece-mib"],
  ]);
  const port = await new Promise((resolve) => server.once("message", resolve));
  const endpoint = await openQuicEndpoint({
    address: { ip: "127.0.0.1", port: 0 },
    alpn: "bench",
    tls: "insecure",
    packetLength: packet,
  });
  const connection = await endpoint.dial({ ip: "127.0.0.1", port });
  const before = process.cpuUsage();
  const startedAt = performance.now();
  let left = Number(values.pieces);
  let total = 0;
  async function download() {
    const buffer = new Uint8Array(MIB / 2);
    while (left-- > 0) {
      const stream = connection.openStream();
      await stream.end(Buffer.from("piece"));
      for (let length; (length = await stream.read(buffer, buffer.byteLength)) > 0;)
        total += length;
    }
  }
  await Promise.all(Array.from({ length: Number(values.parallel) }, download));
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(before);
  const { lostPacketCount, rttMs, congestionWindowBytes } = connection.stats();
  const sender = await new Promise((resolve) => {
    server.once("message", resolve);
    server.send("stop");
  });
  await endpoint[Symbol.asyncDispose]();
  const gb = total / 1e9;
  console.log(
    `packet ${packet}: ${(total / 1e6 / seconds).toFixed(0)} MB/s`,
    `| cpu s/GB: sender ${(sender.cpuMs / 1000 / gb).toFixed(1)}, receiver ${((user + system) / 1e6 / gb).toFixed(1)}`,
    `| peak MiB: sender ${(sender.rssKib / 1024).toFixed(0)}, receiver ${(process.resourceUsage().maxRSS / 1024).toFixed(0)}`,
    `| receiver: lost ${lostPacketCount}, rtt ${rttMs} ms, cwnd ${congestionWindowBytes}`,
  );
}
