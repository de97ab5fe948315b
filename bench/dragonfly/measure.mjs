// What every scenario does around a transfer: the same start for everybody, a limit, and a look at the bytes.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Child } from "../../scripts/demo/child.mjs";

const MIB = 2 ** 20;

/**
 * Times one transfer.
 *
 * @param start - starts it; gets the path to write to; returns a `Child` and `done`, which resolves with its `seconds`
 * @param options - `sha256` and `length` of the file, `directory` for the output, `limitMs`
 * @returns `seconds` and `bytes`; of one that was cut off at the limit `isWhole: false`, and as if it had been done by then: a bound in its favour
 */
export async function timeTransfer(start, { sha256, length, directory, limitMs }) {
  const output = join(directory, "output");
  await rm(output, { force: true });
  await settle(directory, length);
  const { child, done } = start(output);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.process.kill("SIGKILL");
  }, limitMs);
  try {
    const { seconds } = await done;
    await check(output, sha256);
    return { isWhole: true, seconds, bytes: length };
  } catch (error) {
    if (isLate) return { isWhole: false, seconds: limitMs / 1000, bytes: length };
    throw error;
  } finally {
    clearTimeout(timer);
    await rm(output, { force: true });
  }
}

/** `curl -o`, as a transfer. */
export function curl(url, prefix = []) {
  return (output) => {
    const startedAt = performance.now();
    const command = [...prefix, "curl", "-sS", "--noproxy", "*", "-o", output, url];
    const child = new Child("curl", command);
    const finish = async () => {
      await child.success();
      return { seconds: (performance.now() - startedAt) / 1000 };
    };
    return { child, done: finish() };
  };
}

/** @throws {Error} if the file is not what it should be */
export async function check(path, sha256) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk);
  if (hash.digest("hex") !== sha256) throw new Error(`${path} is not what the origin has`);
}

/** What was written before is on disk, and there is memory for what will be: see support/file-mode.mjs. */
export async function settle(directory, length) {
  await new Child("sync", ["sync"]).success();
  const path = join(directory, "touched");
  const file = await open(path, "w");
  const zeros = Buffer.alloc(4 * MIB);
  for (let offset = 0; offset < length + 64 * MIB; offset += zeros.byteLength)
    await file.write(zeros, 0, zeros.byteLength, offset);
  await file.close();
  await rm(path);
}
