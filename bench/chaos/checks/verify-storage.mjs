// Reads every piece that a node has on its disk, once nobody else does, and compares it with what the origin had.
//
//   node verify-storage.mjs STORAGE_DIRECTORY SCHEDULE_JSON
//
// Prints `{ taskCount, pieceCount, withdrawnCount, problems }`. A piece that storage itself finds damaged is withdrawn: that is as it should be.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { openStorage } from "@damselfly/storage";
import { ChaosFile } from "../files.mjs";
import { versionOf } from "../origin/validators.mjs";

const [directory, schedulePath] = process.argv.slice(2);
const { start, files } = JSON.parse(readFileSync(schedulePath, "utf8"));
const byName = new Map(files.map((spec) => [spec.name, new ChaosFile({ spec, start })]));
const result = { taskCount: 0, pieceCount: 0, withdrawnCount: 0, problems: [] };

const storage = await openStorage({ directory });
try {
  result.problems.push(...findLeftovers());
  for (const task of await storage.listTasks()) {
    result.taskCount += 1;
    await verifyTask(task);
  }
} finally {
  await storage[Symbol.asyncDispose]();
}
console.log(JSON.stringify(result));

/** What a start should have swept away. */
function findLeftovers() {
  const root = join(directory, "damselfly");
  const [spools, outputs] = ["spool", "outputs"].map((name) => readdirSync(join(root, name)));
  const halfMade = readdirSync(join(root, "content"), { recursive: true }).filter((name) =>
    name.endsWith(".new"),
  );
  return [...spools, ...outputs, ...halfMade].map((name) => `${String(name)} is left over`);
}

async function verifyTask({ facts, pieces }) {
  const { taskId, url, contentLength } = facts;
  const file = byName.get(new URL(url).pathname.slice(1));
  const candidates = contentsOf(file, facts).filter((content) => content.length === contentLength);
  if (candidates.length === 0) {
    result.problems.push(`${taskId}: no version of ${file.name} has ${contentLength} bytes`);
    return;
  }
  /** All pieces must be of the same one. */
  let alive = candidates;
  for (const { number, offset, length } of Array.from(pieces.values())) {
    const bytes = await readPiece(taskId, number);
    if (bytes === undefined) {
      result.withdrawnCount += 1;
      continue;
    }
    result.pieceCount += 1;
    alive = alive.filter((content) => {
      const truth = Buffer.concat([...content.parts(offset, offset + length)]);
      return Buffer.compare(truth, bytes) === 0;
    });
    if (alive.length > 0) continue;
    result.problems.push(
      `WRONG BYTES: piece ${number} of task ${taskId} (${file.name}) is not what the origin had`,
    );
    return;
  }
}

function contentsOf(file, { etag, lastModified }) {
  const version = versionOf({ etag, lastModified });
  const versions =
    version === undefined ? [0, ...file.spec.changes.map((_, index) => index + 1)] : [version];
  return versions.map((each) => file.content(each));
}

/** Undefined: it is damaged, and storage says so. */
async function readPiece(taskId, pieceNumber) {
  try {
    const reader = await storage.openPiece({ taskId, pieceNumber });
    const chunks = [];
    for await (const chunk of reader.content) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  } catch (error) {
    if (error.name === "TransportError") return undefined;
    throw error;
  }
}
