// `npm run demo [-- URL]`: one origin, one seed, four peers, all separate processes on this machine; the file goes once from the
// origin to the seed and from there among the nodes, first over QUIC, then over gRPC, mutual TLS both times. Needs no root, takes free ports and a
// temporary directory, and leaves nothing behind.
import { createHash, randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { createReadStream, createWriteStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stat } from "node:fs/promises";

const FILE_LENGTH = 256 * 2 ** 20;
const PEERS = ["peer-1", "peer-2", "peer-3", "peer-4"];
const NODES = ["seed", ...PEERS];
const ROUNDS = ["quic", "grpc"];
const bin = (name) => fileURLToPath(new URL(`../node_modules/.bin/${name}`, import.meta.url));
const tty = process.stdout.isTTY === true;
const style = (code, text) => (tty ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = (text) => style(1, text);
const dim = (text) => style(2, text);
const green = (text) => style(32, text);

const directory = mkdtempSync(join(tmpdir(), "damselfly-demo-"));
const children = new Set();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

try {
  await main(process.argv[2]);
} catch (error) {
  console.error(`\ndemo failed: ${error.message}`);
  process.exitCode = 1;
}

async function main(userUrl) {
  console.log(
    bold("\nDamselfly demo") +
      dim(
        `  one origin, one seed, ${PEERS.length} peers, each a process of its own; pieces under mutual TLS\n`,
      ),
  );
  const origin =
    userUrl === undefined
      ? await openOrigin()
      : { url: userUrl, served: undefined, sha256: undefined, close() {} };
  step(
    `origin   ${origin.url}${origin.length === undefined ? "" : `  ${formatBytes(origin.length)}, SHA-256 ${origin.sha256.slice(0, 16)}…`}`,
  );

  const certs = join(directory, "certs");
  await run("dfdaemon", ["certs", "init", "--dir", certs]);
  for (const name of ["scheduler", ...NODES])
    await run("dfdaemon", [
      "certs",
      "issue",
      "--dir",
      certs,
      "--hostname",
      name,
      "--ip",
      "127.0.0.1",
      "--out",
      join(certs, name),
    ]);
  step(`certificates for the scheduler and ${NODES.length} nodes`);

  let failed = false;
  for (const protocol of ROUNDS) failed = !(await round(protocol, origin, certs)) || failed;
  await origin.close();
  if (failed) throw new Error("a node did not get the right file");
  console.log(
    dim(
      "everything is stopped and cleaned up; the README says how to run this on three machines\n",
    ),
  );
}

async function round(protocol, origin, certs) {
  console.log(`\n${bold(`pieces over ${protocol === "quic" ? "QUIC" : "gRPC"}`)}`);
  const work = join(directory, protocol);
  const scheduler = await startScheduler(work, certs);
  const nodes = [];
  for (const name of NODES)
    nodes.push(await startDaemon({ name, work, certs, protocol, scheduler }));
  step(`scheduler, seed and ${PEERS.length} peers are up`);

  const servedBefore = origin.served?.() ?? 0;
  const started = performance.now();
  const downloads = nodes
    .slice(1)
    .map((node) => ({
      node,
      output: join(work, `${node.name}.out`),
      state: { bytes: 0, total: 0 },
      done: undefined,
    }));
  const stopDrawing = draw(downloads, started);
  await Promise.all(downloads.map((download) => dfget(download, origin.url)));
  stopDrawing();
  const seconds = (performance.now() - started) / 1000;

  const rows = [];
  const sums = new Set();
  for (const { node, output, done } of downloads) {
    const sum = await sha256(output);
    sums.add(sum);
    const right = origin.sha256 === undefined ? sums.size === 1 : sum === origin.sha256;
    rows.push([
      node.name,
      `${done.seconds.toFixed(2)} s`,
      `${(done.bytes / 1e6 / done.seconds).toFixed(0)} MB/s`,
      formatBytes(done.origin),
      formatBytes(done.parents),
      done.parentNames,
      right ? green("✓ ") + sum.slice(0, 12) : "✗ WRONG",
    ]);
  }
  console.log();
  table(["node", "time", "rate", "by origin", "by parents", "parents", "SHA-256"], rows);
  const total = downloads.reduce((sum, { done }) => sum + done.bytes, 0);
  const fileLength = downloads[0].done.bytes;
  const served = origin.served === undefined ? undefined : origin.served() - servedBefore;
  const once =
    served === undefined
      ? `${formatBytes(downloads.reduce((sum, { done }) => sum + done.origin, 0))} were read from the origin by peers themselves`
      : `the origin served ${formatBytes(served)}: ${bold(`${(served / fileLength).toFixed(2)}x`)} the file`;
  console.log(
    `\n  ${once}; ${formatBytes(total)} delivered in ${seconds.toFixed(2)} s (${(total / 1e6 / seconds).toFixed(0)} MB/s in all)`,
  );
  await Promise.all([...nodes, scheduler].map((process_) => process_.stop()));
  return rows.every((row) => row.at(-1).includes("✓"));
}

/** An HTTP server with one random file, which counts the bytes of it that leave. */
async function openOrigin() {
  const path = join(directory, "origin.bin");
  const hash = createHash("sha256");
  const file = createWriteStream(path);
  for (let length = 0; length < FILE_LENGTH; length += 2 ** 22) {
    const block = randomBytes(2 ** 22);
    hash.update(block);
    if (!file.write(block)) await once(file, "drain");
  }
  file.end();
  await once(file, "close");
  let served = 0;
  const server = createServer((request, response) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [start, end] =
      range === null
        ? [0, FILE_LENGTH - 1]
        : [Number(range[1]), Math.min(Number(range[2]), FILE_LENGTH - 1)];
    response.writeHead(range === null ? 200 : 206, {
      "content-type": "application/octet-stream",
      "content-length": end - start + 1,
      "accept-ranges": "bytes",
      etag: '"demo-1"',
      ...(range === null ? {} : { "content-range": `bytes ${start}-${end}/${FILE_LENGTH}` }),
    });
    if (request.method === "HEAD") return response.end();
    const content = createReadStream(path, { start, end, highWaterMark: 2 ** 18 });
    content.on("data", (chunk) => {
      served += chunk.length;
    });
    return content.pipe(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/model.bin`,
    length: FILE_LENGTH,
    sha256: hash.digest("hex"),
    served: () => served,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function startScheduler(work, certs) {
  const port = await freePort();
  const config = join(directory, `scheduler-${port}.json`);
  // YAML is a superset of JSON.
  writeFileSync(
    config,
    JSON.stringify({
      server: { listenIP: "127.0.0.1", port, advertiseIP: "127.0.0.1" },
      security: security(certs, "scheduler"),
    }),
  );
  const process_ = start(
    "dfscheduler",
    ["--config", config, "--console"],
    join(directory, `scheduler-${port}.log`),
  );
  await untilListening(port, process_);
  return { ...process_, port };
}

async function startDaemon({ name, work, certs, protocol, scheduler }) {
  const [upload, grpcPort, quicPort, health, metrics] = await Promise.all(
    Array.from({ length: 5 }, freePort),
  );
  const socketPath = join(directory, `${protocol}-${name}.sock`);
  const config = join(directory, `${protocol}-${name}.json`);
  writeFileSync(
    config,
    JSON.stringify({
      host: { hostname: name, ip: "127.0.0.1" },
      download: { server: { socketPath } },
      upload: { server: { ip: "127.0.0.1", port: upload } },
      health: { server: { ip: "127.0.0.1", port: health } },
      metrics: { server: { ip: "127.0.0.1", port: metrics } },
      storage: {
        dir: join(work, name),
        server: { protocol, ip: "127.0.0.1", grpcPort, quic: { port: quicPort } },
      },
      scheduler: { addrs: [`127.0.0.1:${scheduler.port}`] },
      ...(name === "seed" ? { seedPeer: { enable: true } } : {}),
      security: security(certs, name),
    }),
  );
  const process_ = start(
    "dfdaemon",
    ["--config", config, "--console"],
    join(directory, `${protocol}-${name}.log`),
  );
  await untilListening(upload, process_);
  return { ...process_, name, socketPath };
}

function security(certs, name) {
  return {
    caCert: join(certs, "ca.pem"),
    cert: join(certs, `${name}.pem`),
    key: join(certs, `${name}-key.pem`),
  };
}

/** Runs dfget against one node and keeps its progress. */
async function dfget(download, url) {
  const { node, output, state } = download;
  const child = spawn(bin("dfget"), [url, "-O", output, "-e", node.socketPath, "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let errors = "";
  child.stderr.on("data", (data) => (errors += data));
  let rest = "";
  child.stdout.on("data", (data) => {
    const lines = (rest + data).split("\n");
    rest = lines.pop();
    for (const line of lines.filter((text) => text.startsWith("{")))
      note(download, JSON.parse(line));
  });
  const [code] = await once(child, "close");
  children.delete(child);
  if (code !== 0)
    throw new Error(`dfget on ${node.name} ended with ${code}:\n${errors}\n${node.lastLines()}`);
}

function note(download, event) {
  const { state } = download;
  if (event.event === "started") state.total = event.contentLength;
  if (event.event === "progress") state.bytes = event.bytes;
  if (event.event !== "done") return;
  state.bytes = event.bytes;
  const parents = Object.entries(event.byParent ?? {});
  download.done = {
    bytes: event.bytes,
    seconds: event.seconds,
    origin: event.origin ?? 0,
    parents: parents.reduce((sum, [, bytes]) => sum + bytes, 0),
    parentNames: parents
      .toSorted(([, a], [, b]) => b - a)
      .map(([name]) =>
        name
          .replace(/^127\.0\.0\.1-/, "")
          .replace(/-seed$/, "")
          .replace("peer-", "p"),
      )
      .join(" "),
  };
}

/** One line a node, redrawn in place on a terminal; a line of percentages now and then elsewhere. */
function draw(downloads, started) {
  const width = 40;
  const percent = ({ state }) => (state.total === 0 ? 0 : state.bytes / state.total);
  const lines = () =>
    downloads.map((download) => {
      const share = percent(download);
      const bar = "█".repeat(Math.round(share * width)).padEnd(width, "░");
      return `  ${download.node.name.padEnd(8)}${bar} ${(share * 100).toFixed(0).padStart(4)} %  ${formatBytes(download.state.bytes)}`;
    });
  if (!tty) {
    const timer = setInterval(() => {
      console.log(
        `  ${((performance.now() - started) / 1000).toFixed(0).padStart(3)} s  ${downloads.map((download) => `${download.node.name} ${(percent(download) * 100).toFixed(0)} %`).join("  ")}`,
      );
    }, 1000);
    return () => clearInterval(timer);
  }
  process.stdout.write(`${lines().join("\n")}\n`);
  const redraw = () =>
    process.stdout.write(
      `\u001b[${downloads.length}A${lines()
        .map((line) => `\u001b[2K${line}`)
        .join("\n")}\n`,
    );
  const timer = setInterval(redraw, 100);
  return () => {
    clearInterval(timer);
    redraw();
  };
}

function start(name, args, logPath) {
  const log = createWriteStream(logPath);
  const child = spawn(bin(name), args, { stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  const last = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.pipe(log, { end: false });
    stream.on("data", (data) => {
      last.push(...String(data).trimEnd().split("\n"));
      last.splice(0, Math.max(0, last.length - 15));
    });
  }
  const closed = once(child, "close").then(() => children.delete(child));
  return {
    child,
    lastLines: () => `last words of ${name}:\n${last.join("\n")}`,
    async stop() {
      child.kill("SIGTERM");
      await closed;
    },
  };
}

async function run(name, args) {
  const child = spawn(bin(name), args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${code}:\n${output}`);
}

async function untilListening(port, { child, lastLines }) {
  const { connect } = await import("node:net");
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`a process ended while starting\n${lastLines()}`);
    const socket = connect(port, "127.0.0.1");
    const answer = await Promise.race([
      once(socket, "connect").then(
        () => true,
        () => false,
      ),
    ]);
    socket.destroy();
    if (answer) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`a process does not listen on port ${port}\n${lastLines()}`);
}

async function freePort() {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function sha256(path) {
  await stat(path);
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  return hash.digest("hex");
}

function table(head, rows) {
  // eslint-disable-next-line no-control-regex -- colours take no room
  const bare = (text) => text.replace(/\u001b\[\d+m/g, "");
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => bare(row[column]).length)),
  );
  const line = (cells) =>
    `  ${cells.map((cell, column) => cell + " ".repeat(widths[column] - bare(cell).length)).join("  ")}`;
  console.log(dim(line(head)));
  for (const row of rows) console.log(line(row));
}

function step(text) {
  console.log(`  ${green("•")} ${text}`);
}

function formatBytes(bytes) {
  return bytes >= 2 ** 30
    ? `${(bytes / 2 ** 30).toFixed(2)} GiB`
    : `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
