import { mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { status } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";

import { findDaemon, locateDefaultEndpoint, resolveDaemonCommand } from "./connect-daemon.ts";
import { ensureOwnDaemon, locateOwnDaemon, type OwnDaemonPlace } from "./own-daemon.ts";
import {
  failWith,
  FakeTask,
  openTemporaryDirectory,
  runInProcess,
  serveFakeDaemon,
} from "./testing/fake-daemon.ts";

/** Stands for dfdaemon: listens at --socket and passes every connection on to $UPSTREAM, or fails as $FAIL says. */
const DAEMON = `
import { appendFileSync, existsSync } from "node:fs";
import { connect, createServer } from "node:net";
const socketPath = process.argv[process.argv.indexOf("--socket") + 1];
console.log("arguments: " + process.argv.slice(2).join(" "));
appendFileSync("starts", process.pid + "\\n");
if (process.env.FAIL === "always" || (process.env.FAIL === "once" && !existsSync("failed"))) {
  appendFileSync("failed", "");
  console.error("cannot start: \\u001b[31mport is busy");
  process.exit(3);
}
if (process.env.FAIL !== "mute") {
  createServer((socket) => {
    socket.on("error", () => {});
    if (process.env.UPSTREAM) socket.pipe(connect(process.env.UPSTREAM)).pipe(socket);
  }).listen(socketPath);
}
setTimeout(() => process.exit(0), 60_000);
`;

async function open() {
  const directory = await openTemporaryDirectory();
  const script = join(directory.path, "daemon.mjs");
  await writeFile(script, DAEMON);
  const env = { HOME: directory.path };
  const place = await locateOwnDaemon(env, process.getuid?.());
  return {
    directory: directory.path,
    place,
    env,
    command: [process.execPath, script] as const,
    ensure: (
      more: Record<string, string> = {},
      options: { startTimeoutMs?: number; signal?: AbortSignal } = {},
    ) =>
      ensureOwnDaemon(place, {
        command: [process.execPath, script],
        env: more,
        logLevel: "info",
        pid: process.pid,
        signal: new AbortController().signal,
        ...options,
      }),
    async [Symbol.asyncDispose]() {
      for (const pid of await startedPids(place)) end(pid);
      await directory[Symbol.asyncDispose]();
    },
  };
}

async function startedPids(place: OwnDaemonPlace): Promise<number[]> {
  const text = await readFile(join(place.directory, "starts"), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);
}

function end(pid: number): void {
  try {
    process.kill(pid);
  } catch {
    // It has ended already, as some tests want it.
  }
}

describe("locateOwnDaemon", () => {
  it("follows the XDG rules", async () => {
    await using directory = await openTemporaryDirectory();
    const uid = process.getuid?.();
    const home = { HOME: "/home/me" };
    expect(await locateOwnDaemon(home, uid)).toEqual({
      directory: "/home/me/.local/share/damselfly",
      socketPath: "/home/me/.local/share/damselfly/dfget.sock",
      logPath: "/home/me/.local/share/damselfly/dfget-daemon.log",
    });
    const xdg = { ...home, XDG_DATA_HOME: "/data", XDG_RUNTIME_DIR: directory.path };
    expect(await locateOwnDaemon(xdg, uid)).toMatchObject({
      directory: "/data/damselfly",
      socketPath: join(directory.path, "damselfly-dfget.sock"),
    });
    // Left from another user by su, or not there at all.
    expect((await locateOwnDaemon(xdg, (uid ?? 0) + 1)).socketPath).toBe(
      "/data/damselfly/dfget.sock",
    );
    expect(
      (await locateOwnDaemon({ ...xdg, XDG_RUNTIME_DIR: "/nonexistent" }, uid)).socketPath,
    ).toBe("/data/damselfly/dfget.sock");
    expect((await locateOwnDaemon({ ...home, XDG_DATA_HOME: "relative" }, uid)).directory).toBe(
      "/home/me/.local/share/damselfly",
    );
  });

  it("says so when there is no place", async () => {
    await expect(locateOwnDaemon({}, 0)).rejects.toThrow("neither HOME nor XDG_DATA_HOME is set");
    await expect(locateOwnDaemon({ HOME: `/${"x".repeat(100)}` }, 0)).rejects.toThrow(
      "the path of its socket would be longer than 103 bytes",
    );
  });
});

describe("ensureOwnDaemon", () => {
  it("starts one daemon for however many ask at once, and finds it again", async () => {
    await using test = await open();
    const results = await Promise.all(Array.from({ length: 8 }, () => test.ensure()));
    const started = results.filter(({ pid }) => pid !== undefined);
    expect(started).toHaveLength(1);
    expect(await startedPids(test.place)).toEqual([started[0]?.pid]);
    expect(await test.ensure()).toEqual({ pid: undefined });
    expect((await stat(test.place.directory)).mode & 0o777).toBe(0o700);
  });

  it("keeps the daemon private: loopback, free ports, a socket for one user, an end when idle", async () => {
    await using test = await open();
    await test.ensure();
    const log = await readFile(test.place.logPath, "utf8");
    expect(log).toContain(
      `--config /dev/null --socket ${test.place.socketPath} --storage-dir ${test.place.directory} `,
    );
    expect(log).toContain("--set download.server.socketMode=0600 --set host.ip=127.0.0.1 ");
    expect(log).toContain("--set upload.server.port=0 ");
    expect(log).toContain("--set idleExit=5m");
  });

  it("tries again when the last one was just ending", async () => {
    await using test = await open();
    expect((await test.ensure({ FAIL: "once" })).pid).toBeTypeOf("number");
    expect(await startedPids(test.place)).toHaveLength(2);
  });

  it("shows the end of the log of a daemon that dies", async () => {
    await using test = await open();
    await mkdir(test.place.directory, { recursive: true });
    await writeFile(test.place.logPath, "from an earlier day\n");
    const failure: unknown = await test.ensure({ FAIL: "always" }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "ERR_DAEMON_UNREACHABLE" });
    expect(String(failure)).toContain(
      "Cannot start a dfdaemon: it ended with exit code 3. The end of its log, ",
    );
    expect(String(failure)).toContain("\n    cannot start: \ufffd[31mport is busy");
    expect(String(failure)).not.toContain("earlier day");
  });

  it("says so when the program is missing", async () => {
    await using test = await open();
    const ensured = ensureOwnDaemon(test.place, {
      command: ["/nonexistent/dfdaemon"],
      env: {},
      logLevel: "info",
      pid: process.pid,
      signal: new AbortController().signal,
    });
    await expect(ensured).rejects.toThrow("it could not be started (ENOENT)");
  });

  it("gives up on a daemon that never answers, and ends it", async () => {
    await using test = await open();
    await expect(test.ensure({ FAIL: "mute" }, { startTimeoutMs: 200 })).rejects.toThrow(
      "it does not answer at its socket",
    );
  });

  it("stops waiting when told to", async () => {
    await using test = await open();
    const reason = new Error("stop");
    await expect(test.ensure({ FAIL: "mute" }, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });

  it("says so when its directory cannot be used", async () => {
    await using test = await open();
    await mkdir(join(test.directory, ".local", "share"), { recursive: true });
    await symlink("nowhere/at/all", test.place.directory);
    await expect(test.ensure()).rejects.toThrow(
      /Cannot start a dfdaemon: .* cannot be used \(E[A-Z]+\)/,
    );
  });
});

describe("runDfget without a daemon on the node", () => {
  const url = "http://origin.example/f";

  it("starts one of the user's own, says so, and downloads through it", async () => {
    await using test = await open();
    const task = new FakeTask(Buffer.from("content"), 4);
    await using upstream = await serveFakeDaemon(
      join(test.directory, "upstream.sock"),
      (download) => task.serve(download),
    );
    const io = {
      cwd: test.directory,
      env: { ...test.env, UPSTREAM: upstream.socketPath },
      defaultEndpoint: join(test.directory, "nobody.sock"),
      daemonCommand: test.command,
    };
    const first = await runInProcess([url, "-O", "a"], io);
    expect(first.stderr).toMatch(
      /^No dfdaemon at .*nobody\.sock: started one of your own \(process \d+, data and log in .*damselfly\)\n/,
    );
    expect(first.exitCode).toBe(0);
    const second = await runInProcess([url, "-O", "b"], io);
    expect(second.stderr).toMatch(/^b: 7 B in /);
    expect(await readFile(join(test.directory, "b"), "utf8")).toBe("content");
  });

  it("looks again when the daemon left between its answer and the call", async () => {
    await using test = await open();
    const task = new FakeTask(Buffer.from("content"), 4);
    let calls = 0;
    await using daemon = await serveFakeDaemon(join(test.directory, "d.sock"), (download) => {
      calls += 1;
      return calls === 1
        ? failWith(status("UNAVAILABLE", "closing"))(download, undefined!)
        : task.serve(download);
    });
    const path = join(test.directory, "a");
    const { exitCode } = await runInProcess([url, "-O", path], {
      defaultEndpoint: daemon.socketPath,
    });
    expect({ exitCode, calls }).toEqual({ exitCode: 0, calls: 2 });
    calls = 0;
    const named = await runInProcess([url, "-O", path, "--overwrite", "-e", daemon.socketPath]);
    expect(named.stderr).toContain("Connect Dfdaemon Failed!");
  });

  it("starts none for --no-start, nor for an endpoint that the user named", async () => {
    await using test = await open();
    const defaultEndpoint = join(test.directory, "nobody.sock");
    for (const argv of [["--no-start"], ["-e", defaultEndpoint]]) {
      const { exitCode, stderr } = await runInProcess(
        [url, "-O", join(test.directory, "a"), ...argv],
        { env: test.env, defaultEndpoint, daemonCommand: test.command },
      );
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(
        /^Connect Dfdaemon Failed!\n {2}Error {4}Cannot reach a dfdaemon at .*: there is no such socket \(ENOENT\)/,
      );
    }
    expect(await startedPids(test.place)).toEqual([]);
  });

  it("does not start one in place of one that it may not talk to", async () => {
    await using test = await open();
    await writeFile(join(test.directory, "file"), "");
    const found = findDaemon({
      endpoint: undefined,
      defaultEndpoint: join(test.directory, "file", "x.sock"),
      startDaemon: true,
      command: test.command,
      logLevel: "info",
      env: test.env,
      uid: 0,
      pid: 1,
      cwd: "/",
      signal: new AbortController().signal,
    });
    await expect(found).rejects.toThrow(/Cannot reach a dfdaemon at .*: ENOTDIR/);
    expect(await startedPids(test.place)).toEqual([]);
  });
});

describe("resolveDaemonCommand", () => {
  it("is this Node with the executable of the installed package", async () => {
    const [program, script] = await resolveDaemonCommand();
    expect(program).toBe(process.execPath);
    expect((await stat(script ?? "")).isFile()).toBe(true);
  });
});

describe("locateDefaultEndpoint", () => {
  it("is Dragonfly's", () => {
    expect(locateDefaultEndpoint("linux", { HOME: "/home/me" })).toBe(
      "/var/run/dragonfly/dfdaemon.sock",
    );
    expect(locateDefaultEndpoint("darwin", { HOME: "/Users/me" })).toBe(
      "/Users/me/.dragonfly/dfdaemon.sock",
    );
  });
});
