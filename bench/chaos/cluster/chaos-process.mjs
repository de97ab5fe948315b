// A process of a run: what it says goes to a file, it is in a process group of its own, and it is known by its environment.
import { spawn } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { childEnvironment } from "../../../scripts/demo/child.mjs";

/** In the environment of every process of a run, and so of what those start: the value names the run. */
export const MARKER = "DAMSELFLY_CHAOS";

const running = new Set();

export class ChaosProcess {
  /** How it was killed by us; undefined: it was not. */
  killedBy;

  /**
   * @param {{ name: string, command: string[], run: string, stdout: string, stderr?: string, ipc?: boolean, onMessage?: Function }} options -
   *   paths of files that are appended to; without `stderr` all goes to `stdout`
   */
  constructor({ name, command: [program, ...parameters], run, stdout, stderr, ipc, onMessage }) {
    this.name = name;
    this.startedMs = performance.now();
    const files = [openSync(stdout, "a"), stderr === undefined ? undefined : openSync(stderr, "a")];
    const [out, error = out] = files;
    this.process = spawn(program, parameters, {
      detached: true,
      stdio: ["ignore", out, error, ...(ipc === true ? ["ipc"] : [])],
      env: { ...childEnvironment(), [MARKER]: run },
    });
    for (const file of files) if (file !== undefined) closeSync(file);
    if (onMessage !== undefined) this.process.on("message", onMessage);
    running.add(this);
    /** Resolves, never rejects, with `{ code, signal, endedMs }`. */
    this.ended = new Promise((resolve) => {
      const end = (code, signal) => resolve({ code, signal, endedMs: performance.now() });
      this.process.once("error", () => end(undefined, undefined));
      this.process.once("exit", end);
    }).then((end) => {
      running.delete(this);
      this.end = end;
      return end;
    });
  }

  get pid() {
    return this.process.pid;
  }

  get isRunning() {
    return this.end === undefined;
  }

  send(message) {
    this.process.send(message, () => {}); // One that has ended is noticed by its end.
  }

  /** To this process alone. */
  kill(signal) {
    if (isDeadly(signal)) this.killedBy = signal;
    this.process.kill(signal);
  }

  /** To everything that it has started as well. */
  killGroup(signal) {
    if (isDeadly(signal)) this.killedBy = signal;
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }
}

/** Notes in a log what was done to its process, for whoever reads it later. */
export function annotate(path, text) {
  const file = openSync(path, "a");
  writeSync(file, `=== ${new Date().toISOString()} ${text}\n`);
  closeSync(file);
}

/** Ends everything that still runs, for the last moment of a run. */
export function killEverythingNow() {
  for (const each of running) each.killGroup("SIGKILL");
}

function isDeadly(signal) {
  return signal !== "SIGSTOP" && signal !== "SIGCONT";
}
