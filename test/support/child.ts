import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

/** How a process ended. */
export interface Exit {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  /** For messages. */
  readonly name: string;
  /** This very Node unless given. */
  readonly command?: string;
  /** Without the command itself; for Node, a script and its arguments. */
  readonly argv: readonly string[];
  /** All of it: nothing is inherited but what is named here. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Where it logs: what `lines` and `tail` show besides standard error. */
  readonly logsToStdout?: boolean;
}

/** Long enough for a busy machine, short enough for a test to say what it waited for. Milliseconds. */
const WAIT_MS = 60_000;
const TAIL_LINE_COUNT = 25;

/** A process whose output is kept, and waited for. It ends with the process of the test, whatever happens to that. */
export class Child {
  readonly name: string;
  readonly exited: Promise<Exit>;
  readonly #process: ChildProcess;
  readonly #stdout: Buffer[] = [];
  readonly #lines: string[] = [];
  #rest = "";
  #exit: Exit | undefined;
  #wake: () => void = () => {};

  constructor(options: ChildOptions) {
    const {
      name,
      command = process.execPath,
      argv,
      env,
      cwd,
      uid,
      gid,
      logsToStdout = false,
    } = options;
    this.name = name;
    const child = spawn(command, argv, {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    this.#process = child;
    child.stdout.on("data", (chunk: Buffer) => {
      this.#stdout.push(chunk);
      this.#wake();
    });
    if (logsToStdout)
      child.stdout.on("data", (chunk: Buffer) => this.#take(chunk.toString("utf8")));
    child.stderr.setEncoding("utf8").on("data", (text: string) => this.#take(text));
    alive.add(child);
    // "close" comes when the output has been read, too.
    this.exited = once(child, "close").then(([code, signal]: unknown[]) => {
      alive.delete(child);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as Node documents the event
      this.#exit = { code, signal } as Exit;
      this.#wake();
      return this.#exit;
    });
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error(`${this.name} could not be started`);
    return this.#process.pid;
  }

  /** Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#stdout);
  }

  /** What it has logged, line by line. */
  get lines(): readonly string[] {
    return this.#rest === "" ? this.#lines : [...this.#lines, this.#rest];
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Ends it at once, stopped or not, and waits until it is gone. */
  async end(): Promise<Exit> {
    this.#process.kill("SIGKILL");
    return await this.exited;
  }

  /**
   * Resolves with what `look` finds, asked again after every output.
   *
   * @throws {Error} with the end of its output, if the process ends or too much time passes first
   */
  async until<Found>(what: string, look: () => Found | undefined): Promise<Found> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#exit !== undefined) throw this.#failure(`ended before ${what}`);
      if (Date.now() >= deadline) throw this.#failure(`${what} did not come in ${WAIT_MS} ms`);
      await this.#output(deadline - Date.now());
    }
  }

  /** The end of its log, for whoever looks into a failure. */
  tail(): string {
    const state =
      this.#exit === undefined
        ? "running"
        : `ended with ${this.#exit.code ?? this.#exit.signal ?? "nothing"}`;
    return [`--- ${this.name} (${state})`, ...this.lines.slice(-TAIL_LINE_COUNT)].join("\n");
  }

  #failure(what: string): Error {
    return new Error(`${this.name}: ${what}\n${this.tail()}`);
  }

  async #output(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      const previous = this.#wake;
      this.#wake = () => {
        previous();
        resolve();
      };
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  #take(text: string): void {
    const [first = "", ...others] = text.split("\n");
    const complete = [this.#rest + first, ...others];
    this.#rest = complete.pop() ?? "";
    this.#lines.push(...complete);
    const wake = this.#wake;
    this.#wake = () => {};
    wake();
  }
}

/** Whatever the test forgot, or could not end because it was ended itself. */
const alive = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});
