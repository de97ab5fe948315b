import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { whyNoNamespaces } from "../../support/namespaces.mjs";
import { openSwitchedNetwork, whyNoSwitch } from "./switched-network.mjs";

/** Sends a datagram to a place and waits for it to come back; prints the milliseconds that took, or nothing. */
const ASK = `
const socket = require("node:dgram").createSocket("udp4");
const [ip, waitMs] = process.argv.slice(1);
const startedMs = performance.now();
socket.once("message", () => { console.log(performance.now() - startedMs); process.exit(); });
socket.send("x", 9, ip);
setTimeout(() => process.exit(), Number(waitMs));
`;
const ECHO = `
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (bytes, { port, address }) => socket.send(bytes, port, address));
socket.bind(9, () => console.log("ready"));
`;

const canRun = whyNoNamespaces() === undefined && whyNoSwitch() === undefined;

describe.runIf(canRun)("a switched network", () => {
  let directory;
  let network;
  const echoes = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "damselfly-switch-"));
    network = await openSwitchedNetwork({ names: ["a", "b", "c"], directory, start: 1 });
    for (const name of ["b", "c"]) {
      const echo = run(name, ECHO);
      echoes.push(echo);
      await new Promise((resolve) => echo.stdout.once("data", resolve));
    }
  });
  afterAll(async () => {
    for (const echo of echoes) echo.kill("SIGKILL");
    await network?.close();
    for (const { namespace } of network?.places.values() ?? [])
      spawn("ip", ["netns", "delete", namespace]);
    rmSync(directory, { recursive: true });
  });

  function run(name, script, ...parameters) {
    const [program, ...prefix] = network.places.get(name).prefix;
    return spawn(program, [...prefix, process.execPath, "-e", script, ...parameters]);
  }

  /** Milliseconds there and back; undefined: nothing came back. */
  async function ask(from, to, waitMs = 10_000) {
    const child = run(from, ASK, network.places.get(to).ip, String(waitMs));
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
    });
    await new Promise((resolve) => child.once("close", resolve));
    return text === "" ? undefined : Number(text);
  }

  it("joins all places, until a pair is blocked, and again after that", async () => {
    expect(await ask("a", "b")).toBeDefined();
    await network.setBlocked([["b", "a"]]);
    expect(await ask("a", "b", 300)).toBeUndefined();
    expect(await ask("a", "c")).toBeDefined();
    await network.setBlocked([]);
    expect(await ask("a", "b")).toBeDefined();
  });

  it("delays, and loses, what one place sends and receives", async () => {
    await network.setLink("b", { delayMs: 150 });
    expect(await ask("a", "b")).toBeGreaterThanOrEqual(300);
    await network.setLink("b", { lossPercent: 100 });
    expect(await ask("a", "b", 300)).toBeUndefined();
    expect(await ask("a", "c")).toBeDefined();
    await network.setLink("b", {});
    expect(await ask("a", "b")).toBeDefined();
  });
});
