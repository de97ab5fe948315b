// The userspace link of link.c: compiled when it is wanted, with the C compiler of the machine.
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("link.c", import.meta.url));

/** @returns why it cannot be had here; undefined: it can */
export function whyNoLink() {
  if (spawnSync("cc", ["--version"]).status !== 0) return "no C compiler (cc)";
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return "no /dev/net/tun";
  }
  return undefined;
}

/**
 * Joins two network namespaces with a device named `link0` in each, which still needs an address.
 *
 * @param options.directory - where the compiled program may lie
 * @param options.delayMs - one way
 * @param options.lossPercent - each way
 * @param options.rateMbit - each way; 0: no limit
 * @param options.queueBytes - what may wait for the rate, each way
 * @param options.block - what is swallowed: `none`, `udp`, or a port of TCP
 * @returns `close()`, which resolves with a line on the packets of each way
 */
export async function openLink({
  directory,
  namespaces,
  mtu,
  delayMs,
  lossPercent,
  rateMbit,
  queueBytes,
  seed,
  block = "none",
}) {
  const program = join(directory, "link");
  const compiled = spawnSync("cc", ["-O2", "-o", program, SOURCE], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(`Cannot compile ${SOURCE}: ${compiled.stderr}`);
  const values = [
    mtu,
    Math.round(delayMs * 1e3),
    Math.round(lossPercent * 1e4),
    Math.round(rateMbit * 1e3),
    queueBytes,
    seed,
    block,
  ];
  const child = spawn(program, [...namespaces, LINK_DEVICE, ...values.map(String)], {
    // Ctrl-C is for the bench, which closes the link's standard input when all else has ended.
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  const lines = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => lines.push(line));
  await Promise.race([once(reader, "line"), ended]);
  if (lines[0] !== "ready") throw new Error("Cannot run the link: it ended at once");
  return {
    async close() {
      child.stdin.end();
      await ended;
      return lines.slice(1);
    },
  };
}

export const LINK_DEVICE = "link0";
