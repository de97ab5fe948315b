// A network of namespaces that are joined by the process of switch.c, which can do to each path what it likes.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { whyNoLink } from "../../support/link/link.mjs";
import { ip } from "../../support/namespaces.mjs";
import { openPlaces } from "./places.mjs";

const SOURCE = fileURLToPath(new URL("switch.c", import.meta.url));
const DEVICE = "data0";
/** Large, since every packet is a system call or two: what is tested are faults, not packets. */
const MTU = 9000;

/** @returns why it cannot be had here, where there are namespaces; undefined: it can */
export function whyNoSwitch() {
  return whyNoLink();
}

export async function openSwitchedNetwork({ names, directory, start }) {
  const { hub, places } = openPlaces(names);
  const program = join(directory, "switch");
  const compiled = spawnSync("cc", ["-O2", "-o", program, SOURCE], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(`Cannot compile ${SOURCE}: ${compiled.stderr}`);
  const namespaces = [...places.values()].map(({ namespace }) => namespace);
  const child = spawn(program, [String(start), DEVICE, String(MTU), ...namespaces], {
    // Ctrl-C is for the one who closes this last.
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  child.stdin.on("error", () => {}); // It has ended, which the next command finds out.
  const waiting = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => waiting.shift()?.(line));
  const nextLine = () =>
    Promise.race([
      new Promise((resolve) => waiting.push(resolve)),
      ended.then(() => {
        throw new Error("Cannot go on: the switch has ended");
      }),
    ]);
  const first = await nextLine();
  if (first !== "ready") throw new Error(`Cannot run the switch: it says ${first}`);
  for (const { namespace, ip: address } of places.values()) {
    ip("-n", namespace, "addr", "add", `${address}/24`, "dev", DEVICE);
    ip("-n", namespace, "link", "set", DEVICE, "mtu", String(MTU), "up");
  }

  const command = async (text) => {
    const answer = nextLine();
    child.stdin.write(`${text}\n`);
    const line = await answer;
    if (!line.endsWith("done")) throw new Error(`Cannot command the switch: ${line}`);
    return line.slice(0, -"done".length);
  };
  let blocked = new Set();
  return {
    kind: "switch",
    places,
    hub,
    can: new Set(["cut", "rate", "loss", "delay"]),
    async setLink(name, { lossPercent = 0, delayMs = 0, rateMbit = 0 }) {
      const { index } = places.get(name);
      const values = [index, lossPercent * 1e4, delayMs * 1e3, rateMbit * 1e3].map(Math.round);
      await command(`port ${values.join(" ")}`);
    },
    async setBlocked(pairs) {
      const wanted = new Set(
        pairs.map((pair) =>
          pair
            .map((name) => places.get(name).index)
            .toSorted((a, b) => a - b)
            .join(" "),
        ),
      );
      for (const pair of blocked) if (!wanted.has(pair)) await command(`pair ${pair} 0`);
      for (const pair of wanted) if (!blocked.has(pair)) await command(`pair ${pair} 1`);
      blocked = wanted;
    },
    report: () => command("report"),
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}
