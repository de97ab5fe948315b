// One download of a run, from the start of dfget to the verdict.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { executable } from "../../../scripts/demo/child.mjs";
import { ChaosProcess } from "../cluster/chaos-process.mjs";

export class Client {
  /** What dfget said last, parsed: its `done` or `error`; undefined: neither. */
  last;
  /** Of the task that it asked for. */
  taskId;
  /** What is wrong with how it went, in words. */
  problems = [];

  /**
   * @param {{ download: object, url: string, sha256?: string, disk: string, socketPath: string, logs: string, run: string }} options -
   *   `disk`: of the node; `sha256`: that the file must have
   */
  constructor({ download, url, sha256, disk, socketPath, logs, run }) {
    this.download = download;
    /** A directory of its own, so that whatever it leaves behind can be told to be its. */
    this.directory = join(disk, "out", download.id);
    this.isStreamed = download.mode === "stdout";
    this.output = join(this.directory, "file");
    this.events = join(logs, `${download.id}.events`);
    this.words = join(logs, `${download.id}.words`);
    mkdirSync(this.directory, { recursive: true });
    this.startedMs = Date.now();
    this.process = new ChaosProcess({
      name: download.id,
      command: [...executable("dfget"), ...this.#parameters({ url, sha256, socketPath })],
      run,
      stdout: this.isStreamed ? this.output : this.events,
      stderr: this.isStreamed ? this.events : this.words,
    });
    this.ended = this.process.ended.then((end) => {
      this.endedMs = Date.now();
      this.exit = end;
      this.#readEvents();
    });
  }

  get elapsedMs() {
    return (this.endedMs ?? Date.now()) - this.startedMs;
  }

  /** `success`, `error`, `left` (its user ended it), `killed` (the harness did: it took too long) or `odd`. */
  get outcome() {
    const { code, signal } = this.exit;
    if (code === 0 && this.last?.event === "done") return "success";
    if (code > 0 && this.last?.event === "error") return "error";
    if (signal === "SIGKILL" && this.isGivenUp) return "killed";
    const { leaves } = this.download;
    // One that is asked to stop before it listens ends as any process does.
    if (leaves !== undefined && signal === leaves.signal) return "left";
    return "odd";
  }

  /** The harness has waited long enough. */
  giveUp() {
    this.isGivenUp = true;
    this.process.killGroup("SIGKILL");
  }

  get hasOutput() {
    return existsSync(this.output);
  }

  /** Its words, for the report of a failure. */
  tail() {
    return [this.events, this.words]
      .filter((path) => existsSync(path))
      .map((path) => readFileSync(path, "utf8").slice(-2_000))
      .join("");
  }

  async removeOutput() {
    await rm(this.directory, { recursive: true, force: true });
  }

  async removeLogs() {
    await Promise.all([this.events, this.words].map((path) => rm(path, { force: true })));
  }

  #parameters({ url, sha256, socketPath }) {
    const { mode, range, revalidates, timeoutSeconds } = this.download;
    const output = this.isStreamed ? "-" : this.output;
    return [
      url,
      "-O",
      output,
      "-e",
      socketPath,
      "--json",
      ...(mode === "range" ? ["--range", `${range.from}-${range.to}`] : []),
      ...(mode === "transfer" ? ["--transfer-from-dfdaemon"] : []),
      ...(sha256 === undefined ? [] : ["--digest", `sha256:${sha256}`]),
      ...(revalidates === true ? ["--revalidate"] : []),
      ...(timeoutSeconds === undefined ? [] : ["--timeout", `${timeoutSeconds}s`]),
    ];
  }

  #readEvents() {
    for (const line of readFileSync(this.events, "utf8").split("\n")) {
      if (!line.startsWith("{")) continue;
      const event = parse(line);
      if (event === undefined) continue;
      if (event.event === "started") this.taskId = event.taskId;
      if (event.event === "done" || event.event === "error") this.last = event;
    }
  }
}

/** Undefined for a line that was cut off. */
function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
