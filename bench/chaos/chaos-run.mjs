// A run of chaos: the cluster, the schedule that is carried out on it, and everything that is seen of it meanwhile.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "./clients/client.mjs";
import { judgeClient } from "./clients/judge-client.mjs";
import { KeptOutput } from "./clients/kept-output.mjs";
import { timeBoundMs } from "./checks/time-bound.mjs";
import { answers } from "./cluster/until-ready.mjs";
import { deleteTask } from "./faults/outside-faults.mjs";
import { describeFault } from "./faults/describe-fault.mjs";
import { runFault } from "./faults/run-fault.mjs";
import { ChaosFile } from "./files.mjs";
import { Incidents } from "./incidents.mjs";
import { CHECKPOINT_MS, WARM_MS } from "./schedule/make-schedule.mjs";
import { longest } from "./schedule/draw-files.mjs";
import { limitConcurrency } from "./limit-concurrency.mjs";

const LOOK_EVERY_MS = 1_000;
/** After the last fault a daemon may take this long to have a data plane again: one that ended often is started again after 15 s. Milliseconds. */
const WELL_MS_MAX = 25_000;
/** And this long to be known to the scheduler. Milliseconds. */
const SETTLE_MS = 4_000;
/** A file is taken away from all nodes this long after it was asked for last. Milliseconds of the schedule. */
const RETIRE_MS = 15_000;
/** Outputs compared at a time: this process has other things to do. */
const JUDGED_AT_A_TIME = 2;

/** A run of so many minutes, or more, is to show whether anything grows. */
const LONG_MINUTES = 10;
const QUIET_MS = 90_000;

export class ChaosRun {
  incidents = new Incidents();
  /** Every client that was started. */
  clients = [];
  /** `{ who, what }`: every promise that was not kept. */
  violations = [];
  /** What came of each fault, by id. */
  outcomes = new Map();
  /** As `UsageWatch` has them, of the steady node with nothing to do, in order. */
  checkpoints = [];
  keptOutputs = [];
  #running = new Set();
  #judging = [];
  #retiring = new Map();
  #judge = limitConcurrency(JUDGED_AT_A_TIME);

  /**
   * @param {{ schedule: object, cluster: object, clock: object, slowness: object, usage: object, run: string, logs: string, say: Function }} parts -
   *   `say(text)`: tells whoever watches
   */
  constructor({ schedule, cluster, clock, slowness, usage, run, logs, say }) {
    Object.assign(this, { schedule, cluster, clock, slowness, usage, run, logs, say });
    this.files = new Map(
      schedule.files.map((spec) => [spec.name, new ChaosFile({ spec, start: schedule.start })]),
    );
    for (const { file } of schedule.downloads) this.files.get(file).pendingCount += 1;
    this.context = {
      run,
      clock,
      incidents: this.incidents,
      files: this.files,
      network: cluster.network,
      disks: cluster.disks,
      origin: cluster.origin,
      liar: cluster.liar,
      keptOutputs: this.keptOutputs,
      slowness: () => slowness.now,
      serverOf: (name) => cluster.servers.get(name),
      nodeOf: (name) => cluster.nodes.get(name),
      storageOf: (name) => cluster.nodes.get(name).storage,
      turns: new Map(),
      blocks: new Map(),
    };
  }

  /** Carries the schedule out, up to the last download. */
  async carryOut() {
    const stop = new AbortController();
    const watching = [this.#watchClients(stop.signal), this.#retireFiles(stop.signal)];
    const { files, downloads, faults, checkpoints } = this.schedule;
    const events = [
      ...files
        .filter(({ bornMs }) => bornMs < this.schedule.endMs)
        .map((file) => [file.bornMs, () => this.#bear(file.name)]),
      ...files.flatMap((file) =>
        file.changes.map((change) => [change.atMs, () => this.#change(file.name, change)]),
      ),
      ...downloads
        .filter(({ phase }) => phase !== "recovery")
        .map((download) => [download.atMs, () => this.#ask(download)]),
      ...faults.map((fault) => [fault.atMs, () => this.#break(fault)]),
      // What ran has ended by then, and what it held was given back.
      ...checkpoints.map(({ atMs }) => [atMs + CHECKPOINT_MS - 5_000, () => this.#checkpoint()]),
    ].toSorted(([a], [b]) => a - b);
    const running = [];
    let isCalm = true;
    for (const [atMs, act] of events) {
      await this.clock.until(atMs);
      if (isCalm && atMs >= WARM_MS) {
        isCalm = false;
        // Nothing goes wrong before everybody is warm, however slow that is.
        await this.clock.hold(Promise.all(running));
      }
      running.push(act());
    }
    await this.clock.until(this.schedule.endMs);
    await Promise.all(running);
    await this.#recover();
    stop.abort();
    await Promise.all(watching);
  }

  /** @returns the clients of one file */
  clientsOf(name) {
    return this.clients.filter(({ download }) => download.file === name);
  }

  violate(who, what) {
    this.violations.push({ who, what });
    this.say(`NOT KEPT: ${who}: ${what}`);
  }

  async #recover() {
    for (const server of this.cluster.servers.values()) {
      if (server.isUp) continue;
      this.violate(server.name, "is not there when everything is over");
      await server.start();
    }
    await this.#untilWell();
    this.say("everything is well again: every node downloads what is new, and what there was");
    const last = this.schedule.downloads.filter(({ phase }) => phase === "recovery");
    for (const { name, bornMs } of this.schedule.files)
      if (bornMs === this.schedule.endMs) await this.#bear(name);
    await Promise.all(last.map((download) => this.#ask(download)));
    await Promise.all([...this.#running].map(({ ended }) => ended));
    await Promise.all(this.#judging);
    // As before the others: connections that are not used are closed meanwhile.
    if (this.schedule.checkpoints.length > 0) await pause(CHECKPOINT_MS);
    await this.#checkpoint();
  }

  /** Resolves when every daemon answers and has a data plane, and the scheduler has heard of them. */
  async #untilWell() {
    const deadline = Date.now() + WELL_MS_MAX * this.slowness.now;
    for (const { name, server, socketPath } of this.cluster.nodes.values()) {
      const isWell = async () => server.workerPids().length > 0 && (await answers(socketPath));
      while (!(await isWell())) {
        if (Date.now() > deadline) {
          this.violate(name, "is not well although nothing has been wrong for long");
          break;
        }
        await pause(LOOK_EVERY_MS);
      }
    }
    await pause(SETTLE_MS * this.slowness.now);
  }

  async #bear(name) {
    const file = this.files.get(name);
    file.appear();
    await this.cluster.origin.tell({ file: file.spec });
  }

  async #change(name, { cutsRunning }) {
    this.files.get(name).appear();
    await this.cluster.origin.tell({ change: { name, cutsRunning } });
  }

  async #break(fault) {
    const { id, kind } = fault;
    this.say(describeFault(fault));
    try {
      const outcome = await runFault(fault, this.context);
      this.outcomes.set(id, outcome);
    } catch (error) {
      // It is the harness that failed: nothing can be said of the rest.
      throw new Error(`Cannot carry out ${id} (${kind}): ${error.message}`, { cause: error });
    }
  }

  async #ask(download) {
    const file = this.files.get(download.file);
    const { disk, socketPath } = this.cluster.nodes.get(download.node);
    const client = new Client({
      download,
      disk,
      socketPath,
      logs: this.logs,
      run: this.run,
      url: this.cluster.origin.urlOf(download.file),
      sha256: download.mode === "digest" ? file.sha256(file.version) : undefined,
    });
    this.clients.push(client);
    this.#running.add(client);
    void this.#disturb(client);
    await client.ended;
    this.#running.delete(client);
    const judging = this.#judge(() => this.#finish(client, file));
    this.#judging.push(judging);
    await judging;
    file.pendingCount -= 1;
  }

  /** Its user leaves, or puts it to sleep. */
  async #disturb(client) {
    const { leaves, sleeps } = client.download;
    if (leaves !== undefined) {
      await pause(leaves.afterMs);
      if (client.process.isRunning) client.process.kill(leaves.signal);
    } else if (sleeps !== undefined) {
      await pause(sleeps.afterMs);
      if (!client.process.isRunning) return;
      client.process.kill("SIGSTOP");
      await pause(sleeps.durationMs);
      if (client.process.isRunning) client.process.kill("SIGCONT");
    }
  }

  async #finish(client, file) {
    client.boundMs = this.#boundOf(client);
    client.problems = await judgeClient(client, { file, incidents: this.incidents });
    const { download, outcome } = client;
    const mustSucceed = download.phase !== "storm";
    if (mustSucceed && outcome !== "success")
      client.problems.push(`did not succeed although nothing was wrong`);
    for (const problem of client.problems)
      this.violate(
        `${download.id} (${download.mode} of ${download.file} on ${download.node})`,
        problem,
      );
    if (client.problems.length > 0) return;
    await client.removeLogs();
    if (download.keeps && outcome === "success" && client.hasOutput)
      this.keptOutputs.push(new KeptOutput(client));
    else await client.removeOutput();
  }

  #boundOf(client) {
    const { download, startedMs } = client;
    const nowMs = client.endedMs ?? Date.now();
    return timeBoundMs({
      download,
      fromMs: startedMs,
      nowMs,
      slowness: this.slowness.now,
      length: longest(this.files.get(download.file).spec),
      incidents: this.incidents.during({
        fromMs: startedMs,
        untilMs: nowMs,
        settleMs: 3e3,
      }),
    });
  }

  async #watchClients(signal) {
    while (!signal.aborted) {
      for (const client of this.#running) {
        if (client.elapsedMs > this.#boundOf(client) && !client.isGivenUp) client.giveUp();
      }
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Takes files that nobody will ask for any more away from all nodes, for there is not room for all of them. */
  async #retireFiles(signal) {
    while (!signal.aborted) {
      for (const file of this.files.values()) {
        const { name, spec, pendingCount } = file;
        const { nowMs } = this.clock;
        const isOver = pendingCount === 0 && nowMs > spec.dyingMs + RETIRE_MS;
        // What is there at the end stays: it is looked at.
        if (isOver && nowMs < this.schedule.endMs && !this.#retiring.has(name))
          this.#retiring.set(name, new Set(this.cluster.nodes.keys()));
      }
      for (const [name, nodes] of this.#retiring) await this.#retire(name, nodes);
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #retire(name, nodes) {
    const [client] = this.clientsOf(name).filter(({ taskId }) => taskId !== undefined);
    for (const node of nodes) {
      const { server, socketPath } = this.cluster.nodes.get(node);
      if (!server.isUp || server.isFrozen) continue;
      const outcome =
        client === undefined ? "not there" : await deleteTask(socketPath, client.taskId);
      if (outcome === "deleted" || outcome === "not there") nodes.delete(node);
    }
    for (const output of this.keptOutputs.filter((each) => each.file === name)) {
      this.keptOutputs.splice(this.keptOutputs.indexOf(output), 1);
      await this.#dismiss(output);
    }
  }

  /** The user's own file is as he left it, whatever has become of the copy. */
  async #dismiss(output) {
    const problem = await output.judge();
    if (problem !== undefined) this.violate(output.id, problem);
    else await output.remove();
  }

  /** What users still have at the end. */
  async dismissOutputs() {
    for (const output of this.keptOutputs.splice(0)) await this.#dismiss(output);
  }

  /** Temporary files of outputs that nobody has removed, on any node. */
  findLeftovers() {
    return [...this.cluster.nodes.values()].flatMap(({ disk }) => {
      const out = join(disk, "out");
      if (!existsSync(out)) return [];
      return readdirSync(out, { recursive: true }).filter((name) =>
        name.endsWith(".damselfly-tmp"),
      );
    });
  }

  async #checkpoint() {
    // What runs is given the time that it needs.
    await this.clock.hold(Promise.all([...this.#running].map(({ ended }) => ended)));
    // In a long run growth counts: connections to other nodes are closed a minute after their last use.
    if (this.schedule.minutes >= LONG_MINUTES) await this.clock.hold(pause(QUIET_MS));
    const looks = [];
    for (let count = 0; count < 3; count += 1) {
      looks.push(...this.usage.look().filter(({ name }) => name === this.schedule.steady));
      await pause(1_000);
    }
    const [, middle] = looks.toSorted((a, b) => a.bytes - b.bytes);
    if (middle === undefined) return;
    this.checkpoints.push(middle);
    const mib = (bytes) => (bytes / 2 ** 20).toFixed(0);
    const parts = middle.processBytes.map(mib).join(" + ");
    this.say(
      `checkpoint: ${this.schedule.steady} holds ${mib(middle.bytes)} MiB (${parts}), ${middle.fileCount} descriptors, ${middle.diskFileCount} of files; ${this.#running.size} downloads run`,
    );
  }
}
