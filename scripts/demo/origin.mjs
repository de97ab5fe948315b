// Starts origin-process.mjs.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("origin-process.mjs", import.meta.url));

/**
 * Makes a file of `length` random bytes at `path`, and serves it over HTTP from a process of its own, which ends with ours.
 *
 * @param options.sha256 - of the file, where it is there already
 * @param options.prefix - a command line that runs the program, in a network namespace say
 * @returns its URL, the file's length and SHA-256, the process's id, and `count()`: the bytes of the file it has sent, and requests for them
 */
export async function openOrigin({ path, length, ip = "127.0.0.1", sha256, prefix = [] }) {
  const known = sha256 === undefined ? [] : [sha256];
  const parameters = [process.execPath, program, path, String(length), ip, ...known];
  const [command, ...rest] = [...prefix, ...parameters];
  const child = spawn(command, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the origin ended with ${code}`);
  });
  ended.catch(() => {});
  const ask = async () => (await Promise.race([once(child, "message"), ended]))[0];
  const facts = await ask();
  return {
    ...facts,
    pid: child.pid,
    async count() {
      const answer = ask();
      child.send("count");
      return await answer;
    },
    async close() {
      child.kill("SIGKILL");
      await ended.catch(() => {});
    },
  };
}
