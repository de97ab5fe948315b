// Cycles of: everybody downloads, one is killed and started again, asks again. What it had recorded must not be fetched again.
import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { computeTaskId } from "../../../packages/dfdaemon/dist/identity/task-id.js";
import { compareContent } from "../checks/compare-content.mjs";
import { Client } from "../clients/client.mjs";
import { deleteTask } from "../faults/outside-faults.mjs";
import { createContent } from "../schedule/content.mjs";
import { drawCycle } from "./draw-cycle.mjs";
import { readRecorded } from "./read-recorded.mjs";
import { untilPieceServed } from "./serve-piece.mjs";

/** A file that everybody has, to ask for after a start. Bytes. */
const PILOT_LENGTH = 200_000;
/** How long a download may take that is disturbed once: the longest time-outs on its way, and work. Milliseconds. */
const DOWNLOAD_MS_MAX = 90_000;
/** Of every download, how much the newest counts for what such a download takes. */
const MEAN_WEIGHT = 0.2;

export class KillCycles {
  /** `{ cycle, what }`: every promise that was not kept. */
  violations = [];
  /** From the start of a process to the first piece that it serves, and to its answer, in milliseconds. */
  servingMs = [];
  answerMs = [];
  /** Of schedulers, from start to ready. */
  schedulerMs = [];
  counts = { daemon: 0, tree: 0, worker: 0, scheduler: 0 };
  /** Pieces that victims had recorded when they were killed; of them, those that were fetched again; and all that they fetched after. */
  pieces = { recorded: 0, again: 0, fetched: 0 };
  /** Cycles in which the victim had some pieces of the file and lacked others. */
  halfWayCount = 0;
  wrongFileCount = 0;
  fileCount = 0;
  #meanMs = 2_000;
  #clientCount = 0;

  /** @param {{ cluster: object, start: number, run: string, logs: string, slowness: object }} parts */
  constructor({ cluster, start, run, logs, slowness }) {
    Object.assign(this, { cluster, start, run, logs, slowness });
    this.nodes = [...cluster.nodes.keys()];
  }

  /** Everybody gets the file that is asked for after a start. */
  async prepare() {
    await this.#serve("pilot", PILOT_LENGTH);
    const clients = this.nodes.map((node) => this.#ask(node, "pilot"));
    await Promise.all(clients.map(({ ended }) => ended));
    for (const client of clients) await this.#mustHaveSucceeded(client, "pilot", PILOT_LENGTH);
  }

  async run1(number) {
    const cycle = drawCycle({ start: this.start, number, nodes: this.nodes });
    const name = `cycle-${number}`;
    const { victim, kind, length } = cycle;
    this.cycle = cycle;
    await this.#serve(name, length);
    const clients = this.nodes.map((node) => this.#ask(node, name));
    await pause(cycle.moment * this.#meanMs);
    const before = await this.#kill(cycle, name);
    this.counts[kind] += 1;
    await this.#collect(clients, {
      name,
      length,
      isSpared: ({ download }) => download.node === victim && kind !== "worker",
    });
    if (before !== undefined) await this.#askAgain(before, { name, length, node: victim });
    await this.#forget(name);
  }

  /** @returns for a daemon, which pieces it had recorded, and where the origin's log was; undefined for others */
  async #kill({ kind, victim }, name) {
    const { cluster } = this;
    const server = cluster.servers.get(victim);
    if (kind === "worker") {
      const [pid] = server.workerPids();
      if (pid !== undefined) process.kill(pid, "SIGKILL");
      return undefined;
    }
    await server.kill("SIGKILL", { group: kind === "tree" });
    if (kind === "scheduler") {
      await server.start();
      this.schedulerMs.push(server.startMs.at(-1));
      return undefined;
    }
    const { storage, socketPath } = cluster.nodes.get(victim);
    const taskId = computeTaskId({ url: cluster.origin.urlOf(name) });
    const recorded = readRecorded(storage, taskId);
    const logLength = readFileSync(cluster.logOf("origin")).byteLength;
    const startedMs = performance.now();
    const starting = server.start();
    const url = cluster.origin.urlOf("pilot");
    const content = await untilPieceServed({ socketPath, url, isGone: () => !server.isUp });
    this.servingMs.push(performance.now() - startedMs);
    await starting;
    this.answerMs.push(server.startMs.at(-1));
    const truth = this.#content("pilot", PILOT_LENGTH).bytes(0, PILOT_LENGTH);
    if (content === undefined) this.#violate(`${victim} did not start again`);
    else if (Buffer.compare(Buffer.from(content), truth) !== 0)
      this.#violate(`WRONG BYTES: the first piece that ${victim} served after its start`);
    return { recorded, logLength, storage };
  }

  async #askAgain({ recorded, logLength }, { name, length, node }) {
    const { ip } = this.cluster.network.places.get(node);
    const client = this.#ask(node, name);
    await this.#collect([client], { name, length, isSpared: () => false });
    if (client.outcome !== "success") return;
    const { fromLocal, fromOrigin, fromParents } = client.last;
    const fetched = fromOrigin + Object.values(fromParents).reduce((sum, bytes) => sum + bytes, 0);
    const recordedLength = recorded.reduce((sum, piece) => sum + piece.length, 0);
    const asked = readRequests(this.cluster.logOf("origin"), { from: logLength, name, client: ip });
    const again = recorded.filter(({ offset, length: pieceLength }) =>
      asked.some(({ from, to }) => from < offset + pieceLength && to >= offset),
    );
    this.pieces.recorded += recorded.length;
    this.pieces.fetched += Math.ceil(fetched / (4 * 2 ** 20));
    if (recorded.length > 0 && recordedLength < length) this.halfWayCount += 1;
    if (fetched > length - recordedLength || again.length > 0) {
      this.pieces.again += Math.max(1, again.length);
      this.#violate(
        `${node} had recorded ${recordedLength} of ${length} bytes, found ${fromLocal}, and fetched ${fetched}; of the origin it asked again for pieces ${again.map((piece) => piece.number).join(", ") || "none"}`,
      );
    }
  }

  async #collect(clients, { name, length, isSpared }) {
    const timers = clients.map((client) =>
      setTimeout(() => client.giveUp(), DOWNLOAD_MS_MAX + 10_000 * this.slowness.now),
    );
    await Promise.all(clients.map(({ ended }) => ended));
    timers.forEach(clearTimeout);
    for (const client of clients) {
      if (client.outcome === "success")
        this.#meanMs =
          (1 - MEAN_WEIGHT) * this.#meanMs + MEAN_WEIGHT * Math.min(client.elapsedMs, 10_000);
      if (client.outcome !== "success" && client.outcome === "error" && isSpared(client)) continue;
      await this.#mustHaveSucceeded(client, name, length);
    }
    await Promise.all(clients.map((client) => client.removeOutput()));
  }

  async #mustHaveSucceeded(client, name, length) {
    const { node } = client.download;
    if (client.outcome !== "success") {
      const { code, message } = client.last ?? {};
      this.#violate(
        `${client.download.id} of ${name} on ${node}: ${client.outcome} ${code ?? ""} ${message ?? ""}`,
      );
      return;
    }
    this.fileCount += 1;
    const content = this.#content(name, length);
    const { matches, description } = await compareContent(client.output, [
      { content, from: 0, end: length },
    ]);
    if (matches.length === 0) {
      this.wrongFileCount += 1;
      this.#violate(`WRONG BYTES: ${client.download.id} of ${name} on ${node}: ${description}`);
    } else await client.removeLogs();
  }

  async #serve(name, length) {
    const plain = { validators: "both", ranges: true, isChunked: false, changes: [] };
    await this.cluster.origin.tell({ file: { name, length, ...plain } });
  }

  #content(name, length) {
    return createContent({ start: this.start, name, version: 0, length });
  }

  #ask(node, name) {
    this.#clientCount += 1;
    const { disk, socketPath } = this.cluster.nodes.get(node);
    const id = `d${String(this.#clientCount).padStart(5, "0")}`;
    return new Client({
      disk,
      socketPath,
      logs: this.logs,
      run: this.run,
      download: {
        id,
        node,
        file: name,
        mode: "file",
      },
      url: this.cluster.origin.urlOf(name),
    });
  }

  /** There is not room for the files of all cycles. */
  async #forget(name) {
    const taskId = computeTaskId({ url: this.cluster.origin.urlOf(name) });
    for (const { socketPath } of this.cluster.nodes.values()) await deleteTask(socketPath, taskId);
  }

  #violate(what) {
    this.violations.push({ cycle: this.cycle?.number, what });
    console.error(
      `cycle ${this.cycle?.number} (${this.cycle?.kind} of ${this.cycle?.victim}): ${what}`,
    );
  }
}

/** Ranges of a file that one client has asked the origin for, and been sent some of, since its log had a length. */
function readRequests(path, { from, name, client }) {
  return readFileSync(path)
    .subarray(from)
    .toString("utf8")
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))
    .filter((line) => line.name === name && line.client === client && line.method === "GET")
    .filter(({ sent }) => sent > 1)
    .map(({ range }) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
      return { from: Number(first ?? 0), to: Number(last ?? Number.POSITIVE_INFINITY) };
    });
}
