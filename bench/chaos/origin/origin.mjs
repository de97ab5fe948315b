// The origin's process as the harness speaks to it.
import { fileURLToPath } from "node:url";
import process from "node:process";
import { ChaosProcess } from "../cluster/chaos-process.mjs";

const PORT = 8080;
const SCRIPT = fileURLToPath(new URL("origin-process.mjs", import.meta.url));

/** @param place - of the network; @returns `{ process, urlOf(name), tell(message), count() }` */
export async function openOrigin({ place, start, run, log }) {
  const waiting = [];
  let countId = 0;
  const counts = new Map();
  const child = new ChaosProcess({
    name: "origin",
    command: [...place.prefix, process.execPath, SCRIPT, String(start), place.ip, String(PORT)],
    run,
    stdout: log,
    ipc: true,
    onMessage(message) {
      if (message.counted === undefined) waiting.shift()?.();
      else counts.get(message.counted)?.(message.files);
    },
  });
  const next = () =>
    Promise.race([
      new Promise((resolve) => waiting.push(resolve)),
      child.ended.then(() => {
        throw new Error(`Cannot go on: the origin has ended, see ${log}`);
      }),
    ]);
  await next();
  return {
    process: child,
    urlOf: (name) => `http://${place.ip}:${PORT}/${name}`,
    async tell(message) {
      const answered = next();
      child.send(message);
      await answered;
    },
    /** Bytes of bodies sent, by file and version. */
    async count() {
      countId += 1;
      const answered = new Promise((resolve) => counts.set(countId, resolve));
      child.send({ count: countId });
      return await Promise.race([answered, child.ended.then(() => ({}))]);
    },
  };
}
