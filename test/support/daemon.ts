import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, vi } from "vitest";
import type { TlsIdentity } from "@damselfly/transport";
import {
  createAuthority,
  issueCertificate,
  type Authority,
} from "../../packages/dfdaemon/src/certs/certificates.ts";
import { Child, type ChildOptions, type Exit } from "./child.ts";

export const LOOPBACK = "127.0.0.1";

/** A line of a daemon's or scheduler's log. */
export interface LogLine {
  /** pino's: 30 info, 40 warn, 50 error. */
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface DaemonOptions {
  /** Its hostname; the storage of the last daemon of this name is used again. */
  readonly name?: string;
  /** `ip:port` of its scheduler; without one it embeds its own. */
  readonly scheduler?: string;
  readonly seed?: boolean;
  readonly protocol?: "grpc" | "quic" | "tcp" | "auto";
  /** Mutual TLS with everybody, by a certificate of the cluster's authority. */
  readonly tls?: boolean;
  /** As with `--set`, after and over everything else. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** A `dfdaemon` process. */
export interface RunningDaemon {
  readonly name: string;
  readonly child: Child;
  readonly hostId: string;
  readonly socketPath: string;
  readonly storageDirectory: string;
  readonly uploadPort: number;
  /** Of the piece server that speaks Vortex over TCP. */
  readonly tcpPort: number;
  readonly log: readonly LogLine[];
  /** The first line, past or to come, whose message contains this. */
  untilLogged(text: string): Promise<LogLine>;
}

export interface RunningScheduler {
  readonly child: Child;
  /** `ip:port`. */
  readonly address: string;
  readonly port: number;
  readonly log: readonly LogLine[];
}

/** One line of `dfget --json`. */
export interface DfgetEvent {
  readonly event: "note" | "waiting" | "moving" | "started" | "progress" | "done" | "error";
  readonly [field: string]: unknown;
}

/** The first word about the task. */
export interface DfgetStarted extends DfgetEvent {
  readonly taskId: string;
  readonly contentLength: number;
  readonly pieceCount: number;
}

/** The last word of a `dfget` that succeeded; lengths in bytes. */
export interface DfgetDone extends DfgetEvent {
  readonly taskId: string;
  readonly length: number;
  readonly done: number;
  readonly fromOrigin: number;
  readonly fromLocal: number;
  /** By host id. */
  readonly fromParents: Readonly<Record<string, number>>;
}

export interface DfgetError extends DfgetEvent {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
  readonly status?: string;
  readonly origin?: {
    readonly message: string;
    readonly statusCode?: number;
    readonly header: Readonly<Record<string, string>>;
  };
}

export interface DfgetResult {
  readonly exit: Exit;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly events: readonly DfgetEvent[];
  readonly done: DfgetDone | undefined;
  readonly error: DfgetError | undefined;
}

export interface DfgetOptions {
  /** Asked with `-e`; without one dfget looks for a daemon itself. */
  readonly daemon?: Pick<RunningDaemon, "socketPath">;
  /** A free name in the cluster's directory unless given. */
  readonly output?: string;
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
}

/** A `dfget` that runs. */
export interface RunningDfget {
  readonly child: Child;
  readonly output: string;
  readonly result: Promise<DfgetResult>;
  /** Resolves when a piece has arrived. */
  untilProgress(): Promise<void>;
  /** What the daemon said of the task. */
  untilStarted(): Promise<DfgetStarted>;
}

/** A directory, and the processes that live in it. `useCluster` opens and closes it. */
export class Cluster {
  #directory: string | undefined;
  #children: Child[] = [];
  #authority: Promise<Authority> | undefined;
  #count = 0;

  get directory(): string {
    if (this.#directory === undefined) throw new Error("the cluster is not open");
    return this.#directory;
  }

  /** A path in the cluster's directory that nobody has been given before. */
  path(name = "file"): string {
    this.#count += 1;
    return join(this.directory, `${name}-${this.#count}`);
  }

  async open(): Promise<void> {
    this.#directory = await mkdtemp(join(tmpdir(), "damselfly-test-"));
  }

  /** Ends every process; the directory stays. */
  async endAll(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.end()));
  }

  async close(): Promise<void> {
    await this.endAll();
    this.#children = [];
    this.#authority = undefined;
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
    this.#directory = undefined;
  }

  /** The ends of all logs. */
  tails(): string {
    return this.#children.map((child) => child.tail()).join("\n");
  }

  /** Runs one of the executables; the caller says what it waits for. */
  spawn(
    program: "dfdaemon" | "dfget" | "dfscheduler",
    args: readonly string[],
    options: {
      readonly name?: string;
      readonly env?: Readonly<Record<string, string>>;
      readonly uid?: number;
      readonly gid?: number;
      /** As a shell has it, `2>/dev/full`. */
      readonly redirection?: string;
    } = {},
  ): Child {
    const { name = program, env = {}, redirection, ...user } = options;
    const argv = [executable(program), ...args];
    if (redirection === undefined) return this.run({ name, argv, env, ...user });
    const redirected = ["-c", `exec "$0" "$@" ${redirection}`, process.execPath, ...argv];
    return this.run({ name, command: "sh", argv: redirected, env, ...user });
  }

  /** Runs any program in the cluster's directory; it ends with the cluster. */
  run(options: Omit<ChildOptions, "cwd" | "env"> & Partial<Pick<ChildOptions, "env">>): Child {
    const child = new Child({
      ...options,
      env: { PATH: process.env["PATH"] ?? "", HOME: this.directory, ...options.env },
      cwd: this.directory,
    });
    this.#children.push(child);
    return child;
  }

  /** Resolves when the daemon listens. */
  async startDaemon(options: DaemonOptions = {}): Promise<RunningDaemon> {
    const { name = "node", env = {} } = options;
    const storageDirectory = join(this.directory, name);
    const socketPath = join(this.directory, `${name}.sock`);
    const args = await this.#daemonArguments(
      { ...options, name },
      { storageDirectory, socketPath },
    );
    const child = this.spawn("dfdaemon", args, { name, env });
    const ready = await child.until("it was ready", () =>
      parseLog(child.lines).find(({ msg }) => msg.startsWith("ready:")),
    );
    return {
      name,
      child,
      hostId: String(ready["hostId"]),
      socketPath,
      storageDirectory,
      uploadPort: portOf(String(ready["upload"])),
      tcpPort: portOf(
        String([ready["pieces"]].flat().find((each) => String(each).startsWith("tcp:"))),
      ),
      get log() {
        return parseLog(child.lines);
      },
      untilLogged: (text) =>
        child.until(`"${text}"`, () => parseLog(child.lines).find(({ msg }) => msg.includes(text))),
    };
  }

  /** Resolves when the scheduler listens. `port` is for one that comes back where another was. */
  async startScheduler(
    options: { readonly tls?: boolean; readonly port?: number; readonly yaml?: string } = {},
  ): Promise<RunningScheduler> {
    const { tls = false, port = 0, yaml = "" } = options;
    const path = this.path("scheduler.yaml");
    const security = tls ? `security: ${JSON.stringify(await this.#certify("scheduler"))}\n` : "";
    await writeFile(path, `server: { listenIP: ${LOOPBACK}, port: ${port} }\n${security}${yaml}`);
    const child = this.spawn("dfscheduler", ["--config", path], { name: "scheduler" });
    const address = await child.until(
      "it was ready",
      () => /^dfscheduler is ready at (\S+) /m.exec(child.stdout.toString())?.[1],
    );
    return {
      child,
      address,
      port: portOf(address),
      get log() {
        return parseLog(child.lines);
      },
    };
  }

  startDfget(url: string, options: DfgetOptions = {}): RunningDfget {
    const { daemon, output = this.path("output"), flags = [], ...process } = options;
    const endpoint = daemon === undefined ? [] : ["-e", daemon.socketPath];
    const args = [url, "-O", output, ...endpoint, "--json", ...flags];
    const child = this.spawn("dfget", args, process);
    const events = (): readonly DfgetEvent[] =>
      parseLines<DfgetEvent>(output === "-" ? child.lines : child.stdout.toString().split("\n"));
    return {
      child,
      output,
      result: this.#resultOf(child, events),
      untilProgress: async () => {
        await child.until("progress", () => events().find(({ event }) => event === "progress"));
      },
      untilStarted: () =>
        child.until("it started", () =>
          events().find((event): event is DfgetStarted => event.event === "started"),
        ),
    };
  }

  async runDfget(url: string, options: DfgetOptions = {}): Promise<DfgetResult> {
    return await this.startDfget(url, options).result;
  }

  /** Downloads, and returns what came with the file's SHA-256. @throws {Error} when dfget says that it failed */
  async fetch(url: string, options: DfgetOptions = {}): Promise<DfgetDone & { sha256: string }> {
    const { output = this.path("output") } = options;
    const { done, error, stderr } = await this.runDfget(url, { ...options, output });
    if (done === undefined) throw new Error(`dfget ${url}: ${error?.message ?? stderr}`);
    return { ...done, sha256: await sha256OfFile(output) };
  }

  /** A certificate for a process in this test, as a node called `name` would have it. */
  async identity(name: string): Promise<TlsIdentity> {
    this.#authority ??= createAuthority();
    const authority = await this.#authority;
    const node = await issueCertificate(authority, { hostname: name, ips: [LOOPBACK] });
    return { caCert: authority.cert, ...node };
  }

  async #resultOf(child: Child, events: () => readonly DfgetEvent[]): Promise<DfgetResult> {
    const exit = await child.exited;
    const all = events();
    return {
      exit,
      stdout: child.stdout,
      stderr: child.lines.join("\n"),
      events: all,
      done: all.find((event): event is DfgetDone => event.event === "done"),
      error: all.find((event): event is DfgetError => event.event === "error"),
    };
  }

  async #daemonArguments(
    options: DaemonOptions & { readonly name: string },
    place: { readonly storageDirectory: string; readonly socketPath: string },
  ): Promise<string[]> {
    const { name, scheduler, seed = false, protocol = "grpc", tls = false } = options;
    const settings = {
      "host.hostname": name,
      "host.ip": LOOPBACK,
      "upload.server.ip": LOOPBACK,
      "upload.server.port": 0,
      "storage.server.ip": LOOPBACK,
      "storage.server.grpcPort": 0,
      "storage.server.tcpPort": 0,
      "storage.server.quic.port": 0,
      "storage.server.quic.quinnPort": 0,
      "health.server.ip": LOOPBACK,
      "health.server.port": 0,
      "metrics.server.ip": LOOPBACK,
      "metrics.server.port": 0,
      "stats.server.ip": LOOPBACK,
      "stats.server.port": 0,
      ...(tls ? prefixed("security.", await this.#certify(name)) : {}),
      ...options.settings,
    };
    const given: [flag: string, value: string][] = [
      // Not the machine's own settings.
      ["--config", "/dev/null"],
      ["--log-level", "debug"],
      ["--protocol", protocol],
      ["--storage-dir", place.storageDirectory],
      ["--socket", place.socketPath],
      ...(scheduler === undefined ? [] : [["--scheduler", scheduler] satisfies [string, string]]),
      ...Object.entries(settings).map(([key, value]): [string, string] => [
        "--set",
        `${key}=${value}`,
      ]),
    ];
    return [...given.flat(), ...(seed ? ["--seed"] : [])];
  }

  /** Writes a node's certificate, key and authority; returns their paths under the names of the settings. */
  async #certify(name: string): Promise<TlsIdentity> {
    const directory = join(this.directory, "certs");
    await mkdir(directory, { recursive: true });
    const paths = {
      caCert: join(directory, "ca.pem"),
      cert: join(directory, `${name}.pem`),
      key: join(directory, `${name}-key.pem`),
    };
    const identity = await this.identity(name);
    await Promise.all([
      writeFile(paths.caCert, identity.caCert),
      writeFile(paths.cert, identity.cert),
      writeFile(paths.key, identity.key, { mode: 0o600 }),
    ]);
    return paths;
  }
}

/** A cluster for every test, or one for all of the file. Its processes end and its directory goes with it; logs are shown when a test fails. */
export function useCluster(lifetime: "test" | "file"): Cluster;
export function useCluster<Kind extends Cluster>(lifetime: "test" | "file", cluster: Kind): Kind;
export function useCluster(lifetime: "test" | "file", cluster: Cluster = new Cluster()): Cluster {
  // A dozen processes on a busy machine take their time; whatever waits in vain says so before this.
  vi.setConfig({ testTimeout: 150_000, hookTimeout: 150_000 });
  const open = (): Promise<void> => cluster.open();
  const close = (): Promise<void> => cluster.close();
  if (lifetime === "file") {
    beforeAll(open);
    afterAll(close);
  } else {
    beforeEach(open);
    afterEach(close);
  }
  // Hooks that come later run first: the processes are still there.
  afterEach(({ task }) => {
    if (task.result?.state === "fail") console.error(`${task.name}\n${cluster.tails()}`);
  });
  return cluster;
}

export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

function executable(program: "dfdaemon" | "dfget" | "dfscheduler"): string {
  const directory = program === "dfscheduler" ? "scheduler" : program;
  const root = new URL(`../../packages/${directory}/`, import.meta.url);
  if (!existsSync(new URL("dist/main.js", root)))
    throw new Error(`Cannot run ${program}: it is not built, run npx tsc -b`);
  return fileURLToPath(new URL(`bin/${program}.js`, root));
}

function parseLog(lines: readonly string[]): LogLine[] {
  return parseLines<LogLine>(lines);
}

/** JSON lines; others, such as a warning of Node's own, are passed over. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- saves every caller a cast
function parseLines<Line>(lines: readonly string[]): Line[] {
  return lines.flatMap((line) => {
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is the test that checks it
      return line.startsWith("{") ? [JSON.parse(line) as Line] : [];
    } catch {
      return []; // cut off: the rest is still to come
    }
  });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

function prefixed(prefix: string, fields: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [prefix + key, String(value)]),
  );
}
