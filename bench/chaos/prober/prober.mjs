// The prober's process as the harness speaks to it.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ChaosProcess } from "../cluster/chaos-process.mjs";

const SCRIPT = fileURLToPath(new URL("prober-process.mjs", import.meta.url));
const HEALTH_PORT = 4003;

/**
 * @param {{ hub: object, places: Map<string, object>, names: string[], run: string, log: string }} options
 * @returns `{ process, troubles, answers() }`: troubles so far as prober-process.mjs has them, and milliseconds by node
 */
export async function openProber({ hub, places, names, run, log }) {
  const troubles = [];
  let onReady;
  let onAnswers;
  const ready = new Promise((resolve) => {
    onReady = resolve;
  });
  const targets = names.map((name) => `${name}=${places.get(name).manageIp}:${HEALTH_PORT}`);
  const child = new ChaosProcess({
    name: "prober",
    command: [...hub.prefix, process.execPath, SCRIPT, ...targets],
    run,
    stdout: log,
    ipc: true,
    onMessage(message) {
      if (message.trouble !== undefined) troubles.push(message.trouble);
      else if (message.answers !== undefined) onAnswers(message.answers);
      else onReady();
    },
  });
  await Promise.race([
    ready,
    child.ended.then(() => {
      throw new Error(`Cannot look after the nodes: the prober has ended, see ${log}`);
    }),
  ]);
  return {
    process: child,
    troubles,
    async answers() {
      const answered = new Promise((resolve) => {
        onAnswers = resolve;
      });
      child.send({});
      return await Promise.race([answered, child.ended.then(() => ({}))]);
    },
  };
}
