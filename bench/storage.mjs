// Writes, seals, serves and hands out one file through @damselfly/storage, from memory. Run after `npm run build`:
//   node bench/storage.mjs [--length MiB] [--piece MiB] [--chunk KiB] [--concurrency n] [--directory path]
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { openStorage } from "../packages/storage/dist/index.js";

const { values } = parseArgs({
  options: {
    length: { type: "string", default: "1024" },
    piece: { type: "string", default: "4" },
    chunk: { type: "string", default: "256" },
    concurrency: { type: "string", default: "8" },
    write: { type: "string", default: "1024" },
    directory: { type: "string", default: tmpdir() },
  },
});
const MIB = 1024 * 1024;
const contentLength = Number(values.length) * MIB;
const pieceLength = Number(values.piece) * MIB;
const chunk = Buffer.alloc(Number(values.chunk) * 1024, 0xa5);
const concurrency = Number(values.concurrency);

let peakRss = 0;
const sampler = setInterval(() => (peakRss = Math.max(peakRss, process.memoryUsage.rss())), 20);
sampler.unref();

const directory = await mkdtemp(join(values.directory, "damselfly-bench-"));
const storage = await openStorage({
  directory,
  limits: { writeLength: Number(values.write) * 1024 },
});
console.log(
  `${values.length} MiB, pieces of ${values.piece} MiB, chunks of ${values.chunk} KiB, ${concurrency} at once, in ${directory}`,
);
console.log(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`);
try {
  const task = await storage.createTask({
    taskId: "0".repeat(64),
    url: "http://bench.invalid/",
    contentLength,
    pieceLength,
    contentVersion: "",
    etag: "",
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 0,
  });

  await measure("write pieces", () =>
    forEachPiece(task, async (number) => {
      const draft = { number, trafficType: "BACK_TO_SOURCE", parentId: "" };
      await task.writePiece(draft, chunksOf(task.bounds(number).length));
    }),
  );
  await measure("output by hard link", () => task.output(join(directory, "first")));
  await measure("seal (sync)", () => task.seal());
  await measure("serve pieces", () =>
    forEachPiece(task, async (pieceNumber) => {
      const reader = await storage.openPiece({ taskId: task.facts.taskId, pieceNumber });
      for await (const bytes of reader.content)
        if (bytes.byteLength === 0) throw new Error("empty");
    }),
  );
  await measure("sha256", () => task.digest("sha256"));
  await measure("output by copy", () => task.output(join(directory, "second")));
} finally {
  await storage[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
}

async function* chunksOf(length) {
  for (let done = 0; done < length; done += chunk.length) {
    yield chunk.subarray(0, Math.min(chunk.length, length - done));
  }
}

async function forEachPiece(task, action) {
  let next = 0;
  const lane = async () => {
    while (next < task.pieceCount) await action(next++);
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
}

async function measure(name, action) {
  peakRss = process.memoryUsage.rss();
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await action();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  peakRss = Math.max(peakRss, process.memoryUsage.rss());
  console.log(
    [
      name.padEnd(20),
      `${(contentLength / 1e6 / seconds).toFixed(0)} MB/s`.padStart(12),
      `${seconds.toFixed(2)} s`.padStart(9),
      `cpu ${((user + system) / 1e6).toFixed(2)} s`.padStart(12),
      `rss ${(peakRss / MIB).toFixed(0)} MiB`.padStart(14),
      typeof result === "string" && result.length < 20 ? `  (${result})` : "",
    ].join(""),
  );
}
