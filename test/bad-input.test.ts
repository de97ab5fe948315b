import { execFile } from "node:child_process";
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from "vitest";
import type { Child } from "./support/child.ts";
import { LOOPBACK, sha256, useCluster, type RunningDaemon } from "./support/daemon.ts";
import { holdFile } from "./support/held-file.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const LENGTH = 2 * PIECE_LENGTH + 100_003;
const CONTENT = seededContent(LENGTH);
const SHA256 = sha256(CONTENT);

/** What is served of a file before it is held. */
const HALF = { content: CONTENT, byteCount: PIECE_LENGTH };

const NOBODY = 65_534;

const cluster = useCluster("file");
let origin: OriginServer;
let daemon: RunningDaemon;
let url: string;

beforeAll(async () => {
  origin = await openOriginServer({ files: { "/file": { content: CONTENT } } });
  url = `${origin.url}/file`;
  daemon = await cluster.startDaemon({ name: "node" });
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

/** A directory of its own, so that whatever is left there shows. */
async function emptyDirectory(): Promise<string> {
  const directory = cluster.path("directory");
  await mkdir(directory);
  return directory;
}

/** The exit code, and what was written to standard error, once the process has ended. */
async function outcome(child: Child): Promise<{ code: number | null; text: string }> {
  const { code } = await child.exited;
  return { code, text: child.lines.join("\n") };
}

describe("dfget", () => {
  /** Runs it without --json, into an empty directory that it must leave as it was. */
  async function fail(
    target: string,
    flags: readonly string[] = [],
  ): Promise<{ code: number | null; text: string }> {
    const directory = await emptyDirectory();
    const output = join(directory, "file");
    const args = [target, "-O", output, "-e", daemon.socketPath, ...flags];
    const result = await outcome(cluster.spawn("dfget", args));
    expect(await readdir(directory)).toEqual([]);
    return result;
  }

  it.each([
    ["is no URL", "not a url", /'not a url' is not a URL|not a URL/i],
    ["is of another scheme", "ftp://host/file", /http or https/],
  ])("refuses a target that %s", async (_, target, reason) => {
    const { code, text } = await fail(target);
    expect(code).toBe(2);
    expect(text).toMatch(reason);
    expect(text.match(/^ {2}Error/gm)).toHaveLength(1);
  });

  it.each([
    ["a flag that does not exist, and names the nearest", ["--overwrit"], "--overwrite"],
    ["a Range header, and names the flag for that", ["-H", "Range: bytes=0-9"], "--range"],
    ["a digest that is none", ["--digest", "sha256:abc"], "64"],
    ["a range that is none", ["--range", "9-3"], "9-3"],
  ])("refuses %s", async (_, flags, hint) => {
    const { code, text } = await fail(url, flags);
    expect(code).toBe(2);
    expect(text).toContain(hint);
    expect(text).toContain("Try 'dfget --help'");
  });

  it("says which directory is missing", async () => {
    const output = join(cluster.path("missing"), "file");
    const { exit, error } = await cluster.runDfget(url, { daemon, output });
    expect(exit.code).toBe(1);
    expect(error).toMatchObject({ code: "ERR_OUTPUT" });
    expect(error?.message).toContain(`the directory ${dirname(output)} does not exist`);
  });

  it("leaves a file that exists as it is, unless it is told to replace it", async () => {
    const output = cluster.path();
    await writeFile(output, "mine");
    const refused = await cluster.runDfget(url, { daemon, output });
    expect(refused.exit.code).toBe(1);
    expect(refused.error?.message).toContain("it exists already");
    expect(await readFile(output, "utf8")).toBe("mine");
    const got = await cluster.fetch(url, { daemon, output, flags: ["--overwrite"] });
    expect(got.sha256).toBe(SHA256);
  });

  it.each([["node"], ["dfget itself, for it writes"]])(
    "gives out no file whose digest is another: found by %s",
    async (by) => {
      const wrong = `sha256:${"0".repeat(64)}`;
      const flags = by === "node" ? [] : ["--transfer-from-dfdaemon"];
      const { code, text } = await fail(url, ["--digest", wrong, ...flags]);
      expect(code).toBe(1);
      expect(text).toContain(wrong.slice("sha256:".length));
      expect(text).toContain(SHA256);
      const right = ["--digest", `sha256:${SHA256}`, ...flags];
      expect((await cluster.fetch(url, { daemon, flags: right })).sha256).toBe(SHA256);
    },
  );

  it("says that nobody listens at the socket it was given", async () => {
    const result = await cluster.runDfget(url, { daemon: { socketPath: cluster.path("none") } });
    expect(result.exit.code).toBe(1);
    expect(result.error?.code).toBe("ERR_DAEMON_UNREACHABLE");
    expect(result.error?.message).toContain("there is no such socket");
  });

  it("says that the origin cannot be reached", async () => {
    const { code, text } = await fail(`http://${LOOPBACK}:1/file`);
    expect(code).toBe(1);
    expect(text).toContain(`connect ECONNREFUSED ${LOOPBACK}:1`);
  });

  it("writes to standard output, whole or with an error", async () => {
    const whole = await cluster.runDfget(url, { daemon, output: "-" });
    expect(whole.exit.code).toBe(0);
    expect(sha256(whole.stdout)).toBe(SHA256);
    const none = await cluster.runDfget(`${origin.url}/none`, { daemon, output: "-" });
    expect(none.exit.code).toBe(1);
    expect(none.stdout).toHaveLength(0);
    expect(none.error?.origin?.statusCode).toBe(404);
  });

  it.for([
    // As a system's daemon would have it.
    ["everybody's", "shared", { "download.server.socketMode": "0666" }],
    ["its own", "given", { "download.server.socketOwner": NOBODY }],
  ] as const)(
    "writes the file itself when it is another user than the daemon, though the socket is %s",
    async ([, name, settings], context) => {
      skipUnlessRoot(context);
      await chmod(cluster.directory, 0o755);
      const shared = await cluster.startDaemon({ name, settings });
      const directory = await emptyDirectory();
      await chown(directory, NOBODY, NOBODY);
      const output = join(directory, "file");
      const user = { uid: NOBODY, gid: NOBODY };
      const got = await cluster.fetch(url, { daemon: shared, output, ...user });
      expect(got.sha256).toBe(SHA256);
      expect(await stat(output)).toMatchObject(user);
      expect(await readdir(directory)).toEqual(["file"]);
      await shared.child.end();
    },
  );

  describe("stopped half-way", () => {
    it.each([
      ["SIGINT", 130, []],
      ["SIGTERM", 143, ["--transfer-from-dfdaemon"]],
      ["SIGHUP", 129, ["--transfer-from-dfdaemon"]],
    ] as const)(
      "by %s leaves nothing, and goes on from there next time",
      async (signal, code, more) => {
        const file = holdFile(origin, `/held-${signal}`, HALF);
        const settings = { "download.backToSourceConcurrentPieceCount": 1 };
        const slow = await cluster.startDaemon({ name: `slow-${signal}`, settings });
        const directory = await emptyDirectory();
        const output = join(directory, "file");
        const flags = more;
        const dfget = cluster.startDfget(file.url, { daemon: slow, output, flags });
        await dfget.untilProgress();
        dfget.child.kill(signal);
        // Of a terminal that goes both the shell and the kernel tell.
        if (signal === "SIGHUP") dfget.child.kill(signal);
        expect((await dfget.result).exit).toEqual({ code, signal: null });
        expect(await readdir(directory)).toEqual([]);

        await file.untilGivenUp();
        file.release();
        const got = await cluster.fetch(file.url, { daemon: slow, output, flags });
        expect(got).toMatchObject({ sha256: SHA256, fromLocal: PIECE_LENGTH });
        expect(origin.bodyBytes(file.path)).toBe(LENGTH);
        await slow.child.end();
      },
    );
  });
});

describe("dfget without a daemon", () => {
  const home = (): string => join(cluster.directory, "home");
  let pid: number | undefined;

  beforeAll(async () => {
    await mkdir(home());
  });
  afterAll(() => {
    if (pid !== undefined) process.kill(pid, "SIGKILL");
  });

  async function skipIfNodeHasOne(context: TestContext): Promise<void> {
    const path = "/var/run/dragonfly/dfdaemon.sock";
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined) context.skip(`this machine has a daemon at ${path}`);
  }

  it("starts one for this user, says so, and finds it again", async (context) => {
    await skipIfNodeHasOne(context);
    const env = { HOME: home() };
    const output = cluster.path();
    const first = await cluster.runDfget(url, { env, output });
    const [note] = first.events;
    const message = String(note?.["message"]);
    pid = Number(/started one of your own \(process (\d+),/.exec(message)?.[1]);
    expect(note?.event).toBe("note");
    expect(pid).toBeGreaterThan(1);
    expect(first.exit.code).toBe(0);
    expect(sha256(await readFile(output))).toBe(SHA256);

    const second = await cluster.runDfget(url, { env });
    expect(second.done).toMatchObject({ fromLocal: LENGTH, fromOrigin: 0 });
    expect(JSON.stringify(second.events)).not.toContain("started one");
  });

  it("starts none when it was told not to", async (context) => {
    await skipIfNodeHasOne(context);
    const env = { HOME: cluster.path("other-home") };
    const { exit, error } = await cluster.runDfget(url, { env, flags: ["--no-start"] });
    expect(exit.code).toBe(1);
    expect(error?.message).toContain("with --no-start, none is started");
  });

  it("says why its daemon does not start", async (context) => {
    await skipIfNodeHasOne(context);
    const other = cluster.path("other-home");
    await mkdir(other);
    const config = cluster.path("dfdaemon.yaml");
    await writeFile(config, "storage: { server: { protokol: quic } }\n");
    const env = { HOME: other, DFDAEMON_CONFIG: config };
    const { exit, error } = await cluster.runDfget(url, { env });
    expect(exit.code).toBe(1);
    expect(error?.code).toBe("ERR_DAEMON_UNREACHABLE");
    expect(error?.message).toContain("protokol");
    expect(error?.message).toContain("storage.server.protocol");
  });
});

describe("dfdaemon", () => {
  /** Starts one that must end by itself, with one sentence. */
  async function fail(args: readonly string[]): Promise<{ code: number | null; text: string }> {
    const directory = cluster.path("storage");
    const socket = `${directory}.sock`;
    const given = ["--storage-dir", directory, "--socket", socket, "--log-level", "error"];
    const result = await outcome(cluster.spawn("dfdaemon", [...args, ...given]));
    expect(result.text.match(/^dfdaemon: /gm)).toHaveLength(1);
    expect(await stat(socket).catch(() => undefined)).toBeUndefined();
    return result;
  }

  async function withConfig(yaml: string): Promise<string[]> {
    const path = cluster.path("dfdaemon.yaml");
    await writeFile(path, yaml);
    return ["--config", path];
  }

  it("says which config cannot be read", async () => {
    const missing = cluster.path("dfdaemon.yaml");
    const { code, text } = await fail(["--config", missing]);
    expect(code).toBe(1);
    expect(text).toContain(missing);
    const directory = await fail(["--config", cluster.directory]);
    expect(directory.code).toBe(1);
    expect(directory.text).toContain(cluster.directory);
  });

  it("says where a config is no YAML", async () => {
    const [flag = "", path = ""] = await withConfig("storage: [\n");
    const { code, text } = await fail([flag, path]);
    expect(code).toBe(1);
    expect(text).toContain(`${path}:2:1 is not valid YAML`);
  });

  it("names every wrong setting, and the nearest to an unknown key", async () => {
    const yaml = "storage: { server: { protokol: grpc } }\nupload: { server: { port: many } }\n";
    const { code, text } = await fail(await withConfig(yaml));
    expect(code).toBe(1);
    expect(text).toContain("protokol");
    expect(text).toContain("storage.server.protocol");
    expect(text).toContain("upload.server.port");
    expect(text).toContain("many");
  });

  it("names the nearest to an unknown setting on the command line, and to an unknown flag", async () => {
    const setting = await fail(["--config", "/dev/null", "--set", "upload.server.prot=1"]);
    expect(setting.code).toBe(1);
    expect(setting.text).toContain("upload.server.port");
    const flag = await fail(["--config", "/dev/null", "--protocl", "grpc"]);
    expect(flag.code).toBe(2);
    expect(flag.text).toContain("did you mean --protocol?");
  });

  it("does not start half-protected", async () => {
    const { cert, caCert, key } = await cluster.identity("half");
    const paths = {
      cert: cluster.path("cert"),
      caCert: cluster.path("ca"),
      key: cluster.path("key"),
    };
    await writeFile(paths.cert, cert);
    await writeFile(paths.caCert, caCert);
    await writeFile(paths.key, key);
    const half = await fail(
      await withConfig(`security: { caCert: ${paths.caCert}, cert: ${paths.cert} }\n`),
    );
    expect(half.code).toBe(1);
    expect(half.text).toContain("security.key");

    const other = await cluster.identity("other");
    await writeFile(paths.key, other.key);
    const unfit = await fail(
      await withConfig(
        `security: { caCert: ${paths.caCert}, cert: ${paths.cert}, key: ${paths.key} }\n`,
      ),
    );
    expect(unfit.code).toBe(1);
    expect(unfit.text).toContain(paths.key);
    expect(unfit.text).not.toContain("PRIVATE KEY");
  });

  it("says which address is taken", async () => {
    const taker = createServer().listen(0, LOOPBACK);
    await once(taker, "listening");
    const address = taker.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const free = ["grpcPort", "tcpPort", "quic.port", "quic.quinnPort"].map(
      (name) => `storage.server.${name}=0`,
    );
    const settings = [`upload.server.port=${port}`, ...free, "host.ip=127.0.0.1"];
    const args = settings.flatMap((setting) => ["--set", setting]);
    const { code, text } = await fail(["--config", "/dev/null", ...args]);
    taker.close();
    expect(code).toBe(1);
    expect(text).toContain(`${LOOPBACK}:${port}`);
    expect(text).toContain("another process is serving there");
  });

  it("leaves the storage and the socket of another daemon alone", async () => {
    const place = ["--storage-dir", daemon.storageDirectory, "--socket", cluster.path("sock")];
    const second = cluster.spawn("dfdaemon", ["--config", "/dev/null", ...place]);
    const { code, text } = await outcome(second);
    expect(code).toBe(1);
    expect(text).toContain(daemon.storageDirectory);

    const pieces = ["grpcPort", "tcpPort", "quic.port", "quic.quinnPort"];
    const free = ["upload.server.port", ...pieces.map((name) => `storage.server.${name}`)];
    const third = cluster.spawn("dfdaemon", [
      "--config=/dev/null",
      `--socket=${daemon.socketPath}`,
      `--storage-dir=${cluster.path("storage")}`,
      ...free.map((setting) => `--set=${setting}=0`),
    ]);
    const busy = await outcome(third);
    expect(busy.code).toBe(1);
    expect(busy.text).toContain(daemon.socketPath);
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it("ends well when it is told to, at once when it has nothing to do", async () => {
    const told = await cluster.startDaemon({ name: "told" });
    told.child.kill("SIGTERM");
    expect(await told.child.exited).toEqual({ code: 0, signal: null });
    expect(await stat(told.socketPath).catch(() => undefined)).toBeUndefined();
  });
});

describe("dfscheduler", () => {
  it("says which address is taken, which key is unknown and what is half-given", async () => {
    const scheduler = await cluster.startScheduler();
    await expect(cluster.startScheduler({ port: scheduler.port })).rejects.toThrow(
      `dfscheduler: Cannot serve at ${scheduler.address}: another process is serving there`,
    );
    await expect(cluster.startScheduler({ yaml: "schedular: {}\n" })).rejects.toThrow("scheduler");
    await expect(
      cluster.startScheduler({ yaml: "security: { caCert: /none.pem }\n" }),
    ).rejects.toThrow("security.cert");
    scheduler.child.kill("SIGTERM");
    expect(await scheduler.child.exited).toEqual({ code: 0, signal: null });
  });
});

describe("a disk that is full", () => {
  const run = promisify(execFile);
  let mounted: string | undefined;

  afterEach(async () => {
    if (mounted !== undefined) await run("umount", ["-l", mounted]);
    mounted = undefined;
  });

  async function mountSmall(context: TestContext, mebibytes: number): Promise<string> {
    skipUnlessRoot(context);
    const directory = await emptyDirectory();
    try {
      await run("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", directory]);
    } catch (error) {
      context.skip(`a small file system cannot be mounted here: ${String(error)}`);
    }
    mounted = directory;
    return directory;
  }

  it.for([
    ["the daemon", []],
    ["dfget", ["--transfer-from-dfdaemon"]],
  ] as const)("leaves no file where %s writes it", async ([, flags], context) => {
    const directory = await mountSmall(context, 4);
    const output = join(directory, "file");
    const { exit, error } = await cluster.runDfget(url, { daemon, output, flags });
    expect(exit.code).toBe(1);
    expect(error?.message).toMatch(NO_SPACE);
    expect(await readdir(directory)).toEqual([]);
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it("is noticed before a byte is fetched that it has no room for", async (context) => {
    const directory = await mountSmall(context, 4);
    origin.set("/too-long", { content: CONTENT });
    const full = await cluster.startDaemon({
      name: "full",
      settings: { "storage.dir": directory },
    });
    const result = await cluster.runDfget(`${origin.url}/too-long`, { daemon: full });
    await full.child.end();
    expect(result.exit.code).toBe(1);
    expect(result.error?.message).toMatch(NO_SPACE);
    expect(origin.bodyBytes("/too-long")).toBe(0);
  });

  it("leaves no half of a file behind standard output, and says so", async (context) => {
    const directory = await mountSmall(context, 2);
    // In one piece, so that nothing is written after what found room for a part of it.
    origin.set("/one-piece", { content: CONTENT.subarray(0, 3 * 2 ** 20) });
    const words = `"$1" "$2" -O - --json -e "$3" > "$4"; echo "exit code $?"`;
    const dfget = fileURLToPath(new URL("../packages/dfget/bin/dfget.js", import.meta.url));
    const values = [dfget, `${origin.url}/one-piece`, daemon.socketPath, join(directory, "file")];
    const { stdout, stderr } = await run("/bin/sh", ["-c", words, "sh", ...values]);
    expect(stdout).toBe("exit code 1\n");
    expect(stderr).toMatch(NO_SPACE);
  });

  it("fails the download that it fills up under, and serves the next when there is room", async (context) => {
    const directory = await mountSmall(context, 12);
    const held = holdFile(origin, "/filled", HALF);
    const settings = {
      "storage.dir": directory,
      "download.backToSourceConcurrentPieceCount": 1,
    };
    const full = await cluster.startDaemon({ name: "filled", settings });
    const dfget = cluster.startDfget(held.url, { daemon: full });
    await dfget.untilProgress();
    const filler = join(directory, "filler");
    await expect(writeFile(filler, new Uint8Array(12 * 2 ** 20))).rejects.toThrow("ENOSPC");
    held.release();
    const { exit, error } = await dfget.result;
    expect(exit.code).toBe(1);
    expect(error?.message).toMatch(NO_SPACE);
    expect(await stat(dfget.output).catch(() => undefined)).toBeUndefined();

    await rm(filler);
    const got = await cluster.fetch(held.url, { daemon: full });
    expect(got).toMatchObject({ sha256: SHA256, fromLocal: PIECE_LENGTH });
    await full.child.end();
  });
});

const NO_SPACE = /no space left|ENOSPC|bytes free|\d+ are free/;

function skipUnlessRoot(context: TestContext): void {
  if (process.getuid?.() !== 0) context.skip("only root can do that");
}
