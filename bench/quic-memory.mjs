// Measures the QUIC engine alone, memory to memory: one process serves pieces, another downloads them.
//
//   npm run build && node bench/quic-memory.mjs [--packet auto,1350,16383] [--piece-mib 4] [--pieces 128] [--parallel 4] [--runs 3]
//     [--udp dgram,gso] [--buffer-kib 4096] [--netns <server's>,<client's> --ip <server's>,<client's>]
//
// Prints MB/s (10^6 bytes), CPU seconds per GB, peak memory and datagrams per system call of each side; with several
// ways of UDP their runs take turns, and their medians stand at the end. Loopback unless two network namespaces are
// named, joined by a veth pair (as root); mutual TLS off.
import { spawn } from "node:child_process";
import { cpus, release } from "node:os";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
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
    udp: { type: "string", default: "auto" },
    "buffer-kib": { type: "string", default: "4096" },
    netns: { type: "string", default: "" },
    ip: { type: "string", default: "127.0.0.1,127.0.0.1" },
    serve: { type: "boolean", default: false },
    fetch: { type: "string", default: "" },
  },
});
const pieceLength = Number(values["piece-mib"]) * MIB;

const [serverIp, clientIp] = values.ip.split(",");
const [serverNetns, clientNetns] = values.netns.split(",");

if (values.serve) await serve();
else if (values.fetch !== "") await fetchPieces(Number(values.fetch));
else await main();

/** The sending process: every stream gets one piece. */
async function serve() {
  const piece = Buffer.alloc(pieceLength, 7);
  const endpoint = await openQuicEndpoint({
    ...endpointOptions(serverIp),
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
  const before = process.cpuUsage();
  process.on("message", () => {
    process.send(usage(endpoint, before));
    process.disconnect();
    void endpoint[Symbol.asyncDispose]();
  });
  process.send(endpoint.address.port);
}

/** The receiving process: asks for all pieces, some at once. */
async function fetchPieces(port) {
  const endpoint = await openQuicEndpoint(endpointOptions(clientIp));
  const connection = await endpoint.dial({ ip: serverIp, port });
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
  process.send({ total, seconds, ...usage(endpoint, before) });
  process.disconnect();
  await endpoint[Symbol.asyncDispose]();
}

function endpointOptions(ip) {
  return {
    address: { ip, port: 0 },
    alpn: "bench",
    tls: "insecure",
    packetLength: values.packet === "auto" ? "auto" : Number(values.packet),
    udp: values.udp,
    bufferLength: Number(values["buffer-kib"]) * 1024,
    logger: { debug() {}, warn: (fields, text) => console.error(`# ${text}`) },
  };
}

function usage(endpoint, before) {
  const { user, system } = process.cpuUsage(before);
  return {
    cpuSeconds: (user + system) / 1e6,
    rssKib: process.resourceUsage().maxRSS,
    ...endpoint.stats(),
  };
}

async function main() {
  console.log(
    `# ${cpus().length} x ${cpus()[0].model}, Linux ${release()}, Node ${process.version}`,
  );
  console.log(
    `# ${values.pieces} pieces of ${values["piece-mib"]} MiB, ${values.parallel} at once, ` +
      (values.netns === "" ? "loopback" : `${serverIp} to ${clientIp}`),
  );
  const udps = values.udp.split(",");
  for (const packet of values.packet.split(",")) {
    const rates = new Map(udps.map((udp) => [udp, []]));
    for (let run = 0; run < Number(values.runs); run++) {
      for (const udp of udps) rates.get(udp).push(await measure(packet, udp));
    }
    const [first, ...others] = udps.map((udp) => [udp, median(rates.get(udp))]);
    for (const [udp, rate] of others) {
      console.log(
        `packet ${packet}: ${udp} ${rate.toFixed(0)} MB/s is ${(rate / first[1]).toFixed(2)} x ${first[0]} ${first[1].toFixed(0)} MB/s (medians)`,
      );
    }
  }
}

async function measure(packet, udp) {
  const common = ["--packet", packet, "--udp", udp];
  for (const name of ["piece-mib", "pieces", "parallel", "ip", "buffer-kib"])
    common.push(`--${name}`, values[name]);
  const server = start(serverNetns, ["--serve", ...common]);
  const port = await message(server);
  const client = start(clientNetns, ["--fetch", String(port), ...common]);
  const receiver = await message(client);
  server.send("stop");
  const sender = await message(server);
  const rate = receiver.total / 1e6 / receiver.seconds;
  const gb = receiver.total / 1e9;
  const cells = [sender, receiver].map(
    (side) =>
      `${(side.cpuSeconds / gb).toFixed(1)} cpu s/GB, ${(side.rssKib / 1024).toFixed(0)} MiB`,
  );
  console.log(
    `packet ${packet}, ${udp}: ${rate.toFixed(0)} MB/s | sender ${cells[0]}, ` +
      `${sender.datagramsPerSendCall.toFixed(1)} datagrams a call | receiver ${cells[1]}, ` +
      `${receiver.datagramsPerReceiveCall.toFixed(1)} datagrams a call`,
  );
  return rate;
}

function start(netns, parameters) {
  const command = [process.execPath, fileURLToPath(import.meta.url), ...parameters];
  if (netns) command.unshift("ip", "netns", "exec", netns);
  return spawn(command[0], command.slice(1), {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
}

function message(child) {
  return new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", (code) => reject(new Error(`A process of the measurement ended: ${code}`)));
  });
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
