// A daemon or a scheduler of a run, over all its lives: it is started, killed, stopped, and started again.
import { statSync } from "node:fs";
import { ChaosProcess, annotate } from "./chaos-process.mjs";
import { findProcesses } from "./marked-processes.mjs";
import { untilAnswered, untilSaid } from "./until-ready.mjs";

/** How long an orderly stop may take: running downloads may finish for five seconds, then everything is closed. Milliseconds. */
const STOP_MS_MAX = 12_000;

export class Server {
  /** Of the process that runs now, if any does. */
  process;
  /** Of every start, from the call to the answer, in milliseconds. */
  startMs = [];
  /** What went wrong with its processes by itself, in words. */
  troubles = [];
  isFrozen = false;

  /**
   * @param {{ name: string, command: string[], log: string, run: string, socketPath?: string, readyLine?: RegExp, slowness: Function }} options -
   *   it is ready when it answers at its socket, or has said so
   */
  constructor({ name, command, log, run, socketPath, readyLine, slowness }) {
    Object.assign(this, { name, command, log, run, socketPath, readyLine, slowness });
  }

  get isUp() {
    return this.process?.isRunning === true;
  }

  /** Resolves when it answers. */
  async start() {
    annotate(this.log, `start ${this.name}, for the ${this.startMs.length + 1}. time`);
    const { name, command, run, log } = this;
    const { size: length } = statSync(log);
    const child = new ChaosProcess({ name, command, run, stdout: log });
    this.process = child;
    this.isFrozen = false;
    void child.ended.then((end) => this.#judgeEnd(child, end));
    const isGone = () => !child.isRunning || child.killedBy !== undefined;
    if (this.readyLine === undefined) await untilAnswered(this.socketPath, isGone);
    else await untilSaid(log, { pattern: this.readyLine, from: length, isGone });
    if (child.isRunning) this.startMs.push(performance.now() - child.startedMs);
  }

  /** @param signal - deadly; `group`: its children as well */
  async kill(signal, { group = false } = {}) {
    const { process: child } = this;
    if (child === undefined || !child.isRunning) return;
    annotate(this.log, `${signal} to ${this.name}${group ? " and its children" : ""}`);
    if (group) child.killGroup(signal);
    else child.kill(signal);
    await child.ended;
  }

  /** As an operator does it. */
  async stop() {
    const { process: child } = this;
    if (child === undefined || !child.isRunning) return;
    annotate(this.log, `SIGTERM to ${this.name}`);
    child.kill("SIGTERM");
    const boundMs = STOP_MS_MAX * this.slowness();
    const timer = setTimeout(() => {
      this.troubles.push(`${this.name} did not stop within ${Math.round(boundMs)} ms of SIGTERM`);
      child.killGroup("SIGKILL");
    }, boundMs);
    const { code, signal } = await child.ended;
    clearTimeout(timer);
    if (code !== 0) this.troubles.push(`${this.name} ended with ${code ?? signal} after SIGTERM`);
  }

  freeze() {
    annotate(this.log, `SIGSTOP to ${this.name}`);
    this.isFrozen = true;
    this.process?.kill("SIGSTOP");
  }

  thaw() {
    annotate(this.log, `SIGCONT to ${this.name}`);
    this.process?.kill("SIGCONT");
    this.isFrozen = false;
  }

  /** Process ids of its data plane at this moment, the oldest first. */
  workerPids() {
    const { pid } = this.process ?? {};
    if (pid === undefined) return [];
    return findProcesses(this.run)
      .filter(({ parentPid }) => parentPid === pid)
      .map((each) => each.pid)
      .toSorted((a, b) => a - b);
  }

  #judgeEnd(child, { code, signal }) {
    if (child.killedBy !== undefined) return;
    this.troubles.push(`${this.name} ended by itself, with ${code ?? signal}`);
    annotate(this.log, `${this.name} has ended by itself, with ${code ?? signal}`);
  }
}
