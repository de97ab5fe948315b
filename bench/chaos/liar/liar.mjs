// The liar's process as the harness speaks to it.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ChaosProcess } from "../cluster/chaos-process.mjs";

const SCRIPT = fileURLToPath(new URL("liar-process.mjs", import.meta.url));

/** @returns `{ process, tell(message), askedCount() }`, see liar-process.mjs; the last is how often somebody was lied to */
export async function openLiar({ place, scheduler, certificates, start, run, log }) {
  const waiting = [];
  let askedCount = 0;
  const parameters = [String(start), place.ip, scheduler, certificates];
  const child = new ChaosProcess({
    name: "liar",
    command: [...place.prefix, process.execPath, SCRIPT, ...parameters],
    run,
    stdout: log,
    ipc: true,
    onMessage(message) {
      if (message.asked === undefined) waiting.shift()?.();
      else askedCount += 1;
    },
  });
  const next = () =>
    Promise.race([
      new Promise((resolve) => waiting.push(resolve)),
      child.ended.then(() => {
        throw new Error(`Cannot go on: the liar has ended, see ${log}`);
      }),
    ]);
  await next();
  return {
    process: child,
    async tell(message) {
      const answered = next();
      child.send(message);
      await answered;
    },
    askedCount: () => askedCount,
  };
}
