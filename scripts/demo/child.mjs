// Child processes of the demo and of `npm run bench`: what they said last is remembered, and none of them outlives us.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** How much of a process's output is kept to be shown when it fails. Lines. */
const LAST_LINES_MAX = 12;
/** How long a process may take to end once asked. */
const STOP_MS = 10_000;
/** How long a process may take to say that it is ready: generous, for slow and busy machines. */
const READY_MS = 60_000;

const running = new Set();

/** Thrown when a process did not do what it was started for; the message has its last words. */
export class ChildError extends Error {
  name = "ChildError";
}

/** A process of ours, started. Everything it prints can be read as lines. */
export class Child {
  /** @param {string} name - what to call it when it fails */
  constructor(name, [command, ...args], { env = process.env } = {}) {
    this.name = name;
    this.process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
    this.lastLines = [];
    this.isStopping = false;
    this.lineListeners = new Set();
    running.add(this);
    this.#readLines(this.process.stdout, "stdout");
    this.#readLines(this.process.stderr, "stderr");
    /** Resolves, never rejects, with the exit code; `undefined` if a signal ended it or it could not be started. */
    this.ended = new Promise((resolve) => {
      this.process.once("error", (error) => {
        this.#remember(String(error));
        resolve(undefined);
      });
      this.process.once("close", (code) => resolve(code ?? undefined));
    }).finally(() => running.delete(this));
  }

  get pid() {
    return this.process.pid;
  }

  /** Calls back with every line from now on, and whether it came on `stdout` or `stderr`. */
  onLine(listener) {
    this.lineListeners.add(listener);
    return () => this.lineListeners.delete(listener);
  }

  /**
   * Resolves with the match of the first line from now on that fits.
   *
   * @throws {ChildError} if the process ends first, or says no such thing in time
   */
  async line(pattern) {
    let stopListening = () => {};
    const found = new Promise((resolve) => {
      stopListening = this.onLine((text) => {
        const match = pattern.exec(text);
        if (match !== null) resolve(match);
      });
    });
    const timeout = new AbortController();
    const ended = this.ended.then((code) => this.failure(`ended while starting (${code})`));
    const late = timer(READY_MS, timeout.signal).then(() => this.failure("does not get ready"));
    try {
      const first = await Promise.race([found, ended, late]);
      if (first instanceof Error) throw first;
      return first;
    } finally {
      stopListening();
      timeout.abort();
    }
  }

  /** @throws {ChildError} unless it ends with status 0 */
  async success() {
    const code = await this.ended;
    if (code !== 0) throw this.failure(`ended with ${code ?? "a signal"}`);
  }

  /** An error that says what happened, with the last lines of this process. */
  failure(what) {
    const lines = this.lastLines.length === 0 ? ["(it said nothing)"] : this.lastLines;
    const words = lines.map((line) => `    ${line}`).join("\n");
    return new ChildError(`${this.name} ${what}. Its last words:\n${words}`);
  }

  /** Asks it to end, and makes it end if it does not. */
  async stop() {
    this.isStopping = true;
    this.process.kill("SIGTERM");
    const done = new AbortController();
    void timer(STOP_MS, done.signal).then(() => this.process.kill("SIGKILL"));
    await this.ended;
    done.abort();
  }

  #readLines(stream, source) {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) this.#hear(line, source);
    });
    stream.on("end", () => {
      if (rest !== "") this.#hear(rest, source);
    });
  }

  #hear(line, source) {
    this.#remember(line);
    for (const listener of this.lineListeners) listener(line, source);
  }

  #remember(line) {
    this.lastLines.push(line.length > 400 ? `${line.slice(0, 400)}…` : line);
    if (this.lastLines.length > LAST_LINES_MAX) this.lastLines.shift();
  }
}

/**
 * The command line of one of our executables, without the detour over node_modules/.bin.
 *
 * @param {string} root - of the checkout that it is from; this one unless given
 */
export function executable(name, root = fileURLToPath(new URL("../..", import.meta.url))) {
  const packageName = name === "dfscheduler" ? "scheduler" : name;
  return [process.execPath, join(root, "packages", packageName, "bin", `${name}.js`)];
}

/** The environment, without settings meant for other daemons, and with loopback out of any proxy's way. */
export function childEnvironment() {
  const env = Object.entries(process.env).filter(
    ([name]) => !/^DF(DAEMON|GET|SCHEDULER)_/.test(name),
  );
  const spared = [process.env.no_proxy ?? process.env.NO_PROXY, "127.0.0.1"]
    .filter(Boolean)
    .join(",");
  return { ...Object.fromEntries(env), no_proxy: spared, NO_PROXY: spared };
}

/** Ends everything that still runs, the hard way, and waits until it is gone. */
export async function killAll() {
  const children = [...running];
  killAllNow();
  await Promise.all(children.map((child) => child.ended));
}

/** The same without waiting, for the last moment of a process. */
export function killAllNow() {
  for (const child of running) {
    child.isStopping = true;
    child.process.kill("SIGKILL");
  }
}

/** Resolves after a while; never, once the signal has aborted. */
function timer(ms, signal) {
  return new Promise((resolve) => {
    const timeout = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => clearTimeout(timeout), { once: true });
  });
}
