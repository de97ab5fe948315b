// What idle QUIC connections cost: memory and processor time of two processes, one dialling, one accepting, with mutual
// TLS. Run after a build, on a quiet machine:
//
//     node bench/quic-idle.mjs [--count 1000] [--seconds 10]

import { fork } from "node:child_process";
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openQuicEndpoint } from "@damselfly/quic";
import { createTestAuthority } from "@damselfly/rpc/testing";

const MB = 1e6;
/** Dialled at once: more make the numbers no other, only the start. */
const BATCH_COUNT = 50;

await (process.send === undefined ? compare() : takePart());

async function compare() {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: "1000" },
      seconds: { type: "string", default: "10" },
    },
  });
  const [count, seconds] = [Number(values.count), Number(values.seconds)];
  const tls = await (await createTestAuthority()).issue();
  const server = start();
  const client = start();
  const port = await ask(server, { kind: "serve", tls, count });
  const dialMs = await ask(client, { kind: "dial", tls, count, port });
  const costs = await Promise.all(
    [server, client].map((child) => ask(child, { kind: "idle", seconds })),
  );
  process.stdout.write(`${count} connections, dialled in ${Math.round(dialMs)} ms\n`);
  for (const [index, { rss, before, cpuPercent }] of costs.entries()) {
    process.stdout.write(
      `${index === 0 ? "accepting" : "dialling"}: ${rss.toFixed(0)} MB of memory, ` +
        `${(rss - before).toFixed(0)} MB more than without them, ${cpuPercent.toFixed(2)} % of a core\n`,
    );
  }
  for (const child of [server, client]) child.kill();
}

function start() {
  return fork(fileURLToPath(import.meta.url), { execArgv: ["--expose-gc"] });
}

async function ask(child, question) {
  child.send(question);
  const [answer] = await once(child, "message");
  return answer;
}

/** One of the two processes: answers one question at a time. */
async function takePart() {
  let before = 0;
  const kept = [];
  process.on("message", (question) => {
    void answer(question).then((said) => process.send(said));
  });

  async function answer({ kind, tls, count, port, seconds }) {
    if (kind === "idle") return { before, ...(await measure(seconds * 1000)) };
    const address = { ip: "127.0.0.1", port: 0 };
    const endpoint = await openQuicEndpoint({
      address,
      alpn: "idle",
      tls,
      idleTimeoutMs: 300_000,
      earlyData: true,
      limits: { connectionCountMax: count },
      ...(kind === "serve" ? { accept: (connection) => kept.push(connection) } : {}),
    });
    globalThis.gc();
    before = process.memoryUsage().rss / MB;
    if (kind === "serve") return endpoint.address.port;
    const startedAt = performance.now();
    while (kept.length < count) {
      const batch = Math.min(BATCH_COUNT, count - kept.length);
      const dials = Array.from({ length: batch }, () => endpoint.dial({ ip: address.ip, port }));
      kept.push(...(await Promise.all(dials)));
    }
    return performance.now() - startedAt;
  }
}

async function measure(ms) {
  globalThis.gc();
  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  await wait(ms);
  const { user, system } = process.cpuUsage(cpu);
  const cpuPercent = (user + system) / 10 / (performance.now() - startedAt);
  globalThis.gc();
  return { rss: process.memoryUsage().rss / MB, cpuPercent };
}
