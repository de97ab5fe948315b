import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";

import { encodeBackendDetails, status } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";

import { Interrupt } from "./errors.ts";
import {
  CapturedStream,
  failWith,
  FakeTask,
  openTemporaryDirectory,
  runInProcess,
  serveFakeDaemon,
  type FakeDownload,
} from "./testing/fake-daemon.ts";

const url = "http://origin.example/files/model.bin";
const content = randomBytes(1_000_000);
const task = new FakeTask(content, 300_000);
const serve: FakeDownload = (download) => task.serve(download);
/** Pieces carry content only for another user. */
const otherUser = (process.getuid?.() ?? 0) + 1;

async function open(downloadTask: FakeDownload = serve) {
  const directory = await openTemporaryDirectory();
  const daemon = await serveFakeDaemon(join(directory.path, "daemon.sock"), downloadTask);
  const output = join(directory.path, "out.bin");
  return {
    directory: directory.path,
    daemon,
    output,
    /** Everything in the directory but the socket. */
    files: async () => (await readdir(directory.path)).filter((name) => name !== "daemon.sock"),
    get: (argv: readonly string[], options: Parameters<typeof runInProcess>[1] = {}) =>
      runInProcess([url, "-e", daemon.socketPath, ...argv], { cwd: directory.path, ...options }),
    async [Symbol.asyncDispose]() {
      await daemon[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

describe("runDfget", () => {
  it("has the daemon write the output, by its absolute path, and says where the bytes came from", async () => {
    await using test = await open();
    const { exitCode, stderr, stdout } = await test.get(["-O", "out.bin"]);
    expect({ exitCode, stdout: stdout.length }).toEqual({ exitCode: 0, stdout: 0 });
    expect((await readFile(test.output)).equals(content)).toBe(true);
    expect(test.daemon.downloads[0]).toMatchObject({
      url,
      outputPath: test.output,
      needPieceContent: false,
      priority: "LEVEL6",
    });
    expect(stderr).toMatch(/^out\.bin: 977 KiB in .* s \(.*\/s\): 100% from the origin\n$/);
  });

  it("names the parents in the closing line", async () => {
    const id = "10.0.0.7-node7-0d8b0a3c-9e6f-4d3e-8a8c-2f7a3a9f1b11-seed";
    await using test = await open((download) =>
      task.serve(download, { piece: { trafficType: "REMOTE_PEER", parentId: id } }),
    );
    const { stderr } = await test.get(["-O", "out.bin"]);
    expect(stderr).toContain("100% from 1 peer (10.0.0.7-node7-seed 977 KiB)");
  });

  it("passes every wish on", async () => {
    await using test = await open();
    const argv = `-O out.bin --overwrite --tag t --application a -p 3 --piece-length 8mib --timeout 1m --scheduling-policy always
      --disable-back-to-source --insecure --revalidate --filtered-query-param sig --force-hard-link -H X-One:1 -H x-one:2 -H Cookie:a=b
      --content-for-calculating-task-id c --digest sha256:${"AB".repeat(32)}`;
    await test.get(argv.split(/\s+/));
    expect(test.daemon.downloads[0]).toMatchObject({
      overwrite: true,
      tag: "t",
      application: "a",
      priority: "LEVEL3",
      pieceLength: 8 * 1024 * 1024,
      timeout: { seconds: 60, nanos: 0 },
      schedulingPolicy: "ALWAYS",
      disableBackToSource: true,
      extension: { insecureSkipVerify: true, revalidate: true },
      requestHeader: { "X-One": "1, 2", Cookie: "a=b" },
      filteredQueryParams: ["sig"],
      forceHardLink: true,
      contentForCalculatingTaskId: "c",
      digest: `sha256:${"ab".repeat(32)}`,
    });
  });

  it.each([
    ["the daemon's is another user", [], otherUser],
    ["it is asked to", ["--transfer-from-dfdaemon"], process.getuid?.()],
  ])("writes the output itself, in any order of pieces, when %s", async (_, argv, uid) => {
    await using test = await open((download) => task.serve(download, { order: [3, 1, 1, 0, 2] }));
    const digest = createHash("sha256").update(content).digest("hex");
    const { exitCode } = await test.get(
      ["-O", "out.bin", "--digest", `sha256:${digest}`, ...argv],
      { uid },
    );
    expect(exitCode).toBe(0);
    expect((await readFile(test.output)).equals(content)).toBe(true);
    expect(test.daemon.downloads[0]).toMatchObject({ needPieceContent: true });
    expect(test.daemon.downloads[0]?.outputPath).toBeUndefined();
    expect(await test.files()).toEqual(["out.bin"]);
    expect((await stat(test.output)).mode & 0o777).toBe(0o644 & ~process.umask());
  });

  it("takes a piece of the greatest usual length", async () => {
    const large = new FakeTask(Buffer.alloc(64 * 1024 * 1024, "x"), 64 * 1024 * 1024);
    await using test = await open((download) => large.serve(download));
    expect((await test.get(["-O", "out.bin"], { uid: otherUser })).exitCode).toBe(0);
    expect((await readFile(test.output)).equals(large.content)).toBe(true);
  });

  it("replaces an existing file only when asked to, and only when complete", async () => {
    await using test = await open();
    await writeFile(test.output, "old");
    const refused = await test.get(["-O", "out.bin"], { uid: otherUser });
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain("it exists already, expected a new name, or --overwrite");
    expect(test.daemon.downloads).toEqual([]);
    expect((await test.get(["-O", "out.bin", "--overwrite"], { uid: otherUser })).exitCode).toBe(0);
    expect((await readFile(test.output)).equals(content)).toBe(true);
  });

  it.each([
    ["100-299999", 100, 300_000],
    ["299999-300000", 299_999, 300_001],
    ["900000-", 900_000, 1_000_000],
    ["-1", 999_999, 1_000_000],
    ["-2000000", 0, 1_000_000],
    ["bytes=0-5000000", 0, 1_000_000],
  ])("writes just the bytes of the range %s", async (range, start, end) => {
    await using test = await open();
    expect((await test.get(["-O", "out.bin", "--range", range])).exitCode).toBe(0);
    expect((await readFile(test.output)).equals(content.subarray(start, end))).toBe(true);
  });

  it("sends a closed range as such, and an open one as a Range header", async () => {
    await using test = await open();
    await test.get(["-O", "a", "--range", "100-199"]);
    await test.get(["-O", "b", "--range", "100-"]);
    await test.get(["-O", "c", "--range", "-7"]);
    const [closed, from, last] = test.daemon.downloads;
    expect(closed).toMatchObject({ range: { start: 100, length: 100 }, requestHeader: {} });
    expect(from).toMatchObject({ requestHeader: { Range: "bytes=100-" } });
    expect(last).toMatchObject({ requestHeader: { Range: "bytes=-7" } });
  });

  it("fails for a range outside the file", async () => {
    await using test = await open();
    const { exitCode, stderr } = await test.get(["-O", "out.bin", "--range", "1000000-"]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("it starts at byte 1000000, the file has 1000000 bytes");
    expect(await test.files()).toEqual([]);
  });

  it("writes to standard output in order, whatever order the pieces come in", async () => {
    await using test = await open((download) => task.serve(download, { order: [2, 3, 1, 0] }));
    const { exitCode, stdout, stderr } = await test.get(["-O", "-"]);
    expect(exitCode).toBe(0);
    expect(stdout.equals(content)).toBe(true);
    expect(stderr).toContain("model.bin: 977 KiB");
  });

  it("fails when the reader of standard output goes away", async () => {
    await using test = await open();
    const closed = new Writable({
      write: (_chunk, _encoding, callback) =>
        callback(Object.assign(new Error("gone"), { code: "EPIPE" })),
    });
    const { exitCode, stderr } = await test.get(["-O", "-"], { stdout: closed });
    expect(exitCode).toBe(1);
    expect(stderr).toContain("Cannot write to standard output: EPIPE");
  });

  it("makes an empty file of an empty one", async () => {
    await using test = await open((download) => new FakeTask(Buffer.alloc(0), 10).serve(download));
    const { exitCode, stderr } = await test.get(["-O", "out.bin"], { uid: otherUser });
    expect(exitCode).toBe(0);
    expect((await stat(test.output)).size).toBe(0);
    expect(stderr).toContain("an empty file");
  });

  it("starts over when the origin has changed the file meanwhile", async () => {
    const before = new FakeTask(randomBytes(500_000), 300_000);
    await using test = await open(async function* (download) {
      yield before.started();
      yield before.finished(1, { content: before.contentOf(1) });
      yield* task.serve(download);
    });
    expect((await test.get(["-O", "out.bin"], { uid: otherUser })).exitCode).toBe(0);
    expect((await readFile(test.output)).equals(content)).toBe(true);
    expect(await test.files()).toEqual(["out.bin"]);
  });

  it("does not start over on standard output, where it cannot take anything back", async () => {
    const before = new FakeTask(randomBytes(500_000), 300_000);
    await using test = await open(async function* (download) {
      yield before.started();
      yield before.finished(0, { content: before.contentOf(0) });
      yield* task.serve(download);
    });
    const { exitCode, stderr } = await test.get(["-O", "-"]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("the daemon had to begin anew");
  });

  it.each([
    ["a piece is missing", [0, 1, 3], "1 of 4 pieces are missing (2)"],
    ["nothing comes", [], "4 of 4 pieces are missing (0, 1, 2, 3)"],
  ])("says 'Download incomplete' when %s, and leaves nothing behind", async (_, order, message) => {
    await using test = await open((download) =>
      task.serve({ ...download, outputPath: undefined! }, { order }),
    );
    for (const uid of [otherUser, process.getuid?.()]) {
      const { exitCode, stderr } = await test.get(["-O", "out.bin"], { uid });
      expect(exitCode).toBe(1);
      expect(stderr).toContain("Downloading Failed!\n  Error    Download incomplete: ");
      expect(stderr).toContain(message);
      expect(await test.files()).toEqual([]);
    }
  });

  it("refuses a piece that is shorter than announced, or has no content", async () => {
    for (const piece of [{ content: Buffer.alloc(7) }, { content: undefined }]) {
      await using test = await open((download) => task.serve(download, { piece }));
      const { exitCode, stderr } = await test.get(["-O", "out.bin"], { uid: otherUser });
      expect(exitCode).toBe(1);
      expect(stderr).toContain("ERR_PROTOCOL");
      expect(await test.files()).toEqual([]);
    }
  });

  it("removes the file whose digest does not match", async () => {
    await using test = await open();
    const { exitCode, stderr } = await test.get(["-O", "out.bin", "--digest", "crc32:7"], {
      uid: otherUser,
    });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/its digest is crc32:\d+, expected crc32:7\n/);
    expect(await test.files()).toEqual([]);
  });

  it("says by its code that the daemon found another digest", async () => {
    const message = "Cannot write output: the content's digest is sha256:1, expected sha256:2";
    await using test = await open(failWith(status("DATA_LOSS", message)));
    const { exitCode, stderr } = await test.get(["-O", "out.bin"]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`Error    ${message}`);
    expect(stderr).toContain("Code     ERR_DIGEST_MISMATCH");
  });

  it("shows what the origin said", async () => {
    const details = encodeBackendDetails({
      message: "not \u001b[31mhere",
      header: { "content-type": "text/html", "set-cookie": "secret", "x-evil": "a\nb" },
      statusCode: 404,
    });
    await using test = await open(
      failWith(status("INTERNAL", "Cannot download: the origin answered 404", details)),
    );
    const { exitCode, stderr } = await test.get(["-O", "out.bin"]);
    expect(exitCode).toBe(1);
    expect(stderr).toBe(`Downloading Failed!
  Error    Cannot download: the origin answered 404
  URL      ${url}
  Origin   404 Not Found
  Message  not \ufffd[31mhere
  Headers  content-type: text/html
           x-evil: a\ufffdb
  Code     ERR_DOWNLOAD, daemon's status INTERNAL
`);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)(
    "cancels the call at %s, leaves nothing behind and exits with %d",
    async (signal, expected) => {
      const controller = new AbortController();
      let cancelled: Promise<unknown> | undefined;
      await using test = await open(async function* (download, context) {
        cancelled = new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        yield task.started();
        yield task.finished(1, { content: task.contentOf(1) });
        controller.abort(new Interrupt(signal));
        await cancelled;
        expect(download.needPieceContent).toBe(true);
      });
      const { exitCode, stderr } = await test.get(["-O", "out.bin"], {
        uid: otherUser,
        signal: controller.signal,
      });
      expect(exitCode).toBe(expected);
      expect(stderr).toContain(`Downloading Stopped!\n  Error    Stopped by ${signal}`);
      await cancelled;
      expect(await test.files()).toEqual([]);
    },
  );

  it("stops even while the reader of standard output takes nothing", async () => {
    const controller = new AbortController();
    const stuck = new Writable({ write: () => controller.abort(new Interrupt("SIGINT")) });
    await using test = await open();
    const { exitCode } = await test.get(["-O", "-"], { stdout: stuck, signal: controller.signal });
    expect(exitCode).toBe(130);
  });

  it("gives up after --timeout", async () => {
    await using test = await open(async function* (_download, { signal }) {
      yield task.started();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    });
    const { exitCode, stderr } = await test.get(["-O", "out.bin", "--timeout", "50ms"]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("Cannot download within 0.05 s, the limit of --timeout");
  });

  it("says that a daemon which dies half-way went away", async () => {
    await using test = await open(async function* (_download, { signal }) {
      yield task.started();
      void test.daemon[Symbol.asyncDispose]();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    });
    const { exitCode, stderr } = await test.get(["-O", "out.bin"], { uid: otherUser });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /Downloading Failed!\n {2}Error {4}Cannot go on: the daemon at .* went away/,
    );
    expect(await test.files()).toEqual([]);
  });

  it.each([
    ["fails", (): Error => status("INTERNAL", "no luck")],
    ["finds it taken", (): Error => status("ALREADY_EXISTS", "it exists already")],
  ])(
    "leaves the file of one that was faster, when a daemon that links none early %s",
    async (_, reason) => {
      const whole = Buffer.from("whole");
      await using test = await open(async function* (download) {
        await writeFile(download.outputPath!, whole);
        yield task.started({ atomicOutput: true });
        throw reason();
      });
      const { exitCode } = await test.get(["-O", "out.bin"]);
      expect(exitCode).toBe(1);
      expect(await readFile(test.output)).toEqual(whole);
    },
  );

  it("leaves the file of one that was faster when it is stopped", async () => {
    const whole = Buffer.from("whole");
    await using test = await open(async function* (download, { signal }) {
      await writeFile(download.outputPath!, whole);
      yield task.started({ atomicOutput: true });
      await once(signal, "abort");
    });
    const controller = new AbortController();
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        if (String(chunk).includes('"started"')) controller.abort(new Interrupt("SIGINT"));
        done();
      },
    });
    const { signal } = controller;
    const { exitCode } = await test.get(["-O", "out.bin", "--json"], { stdout, signal });
    expect(exitCode).toBe(130);
    expect(await readFile(test.output)).toEqual(whole);
  });

  it("says in a sentence what the system refuses where nothing else does", async () => {
    await using test = await open(async function* (download) {
      await mkdir(download.outputPath!);
      yield task.started();
      throw status("INTERNAL", "no luck");
    });
    const { exitCode, stdout } = await test.get(["-O", "out.bin", "--json"]);
    expect(exitCode).toBe(1);
    const [last = ""] = stdout.toString().trim().split("\n").slice(-1);
    expect(JSON.parse(last)).toMatchObject({ event: "error", code: "ERR_OUTPUT" });
  });

  it("notices that the daemon wrote the output somewhere else", async () => {
    await using test = await open((download) =>
      task.serve({ ...download, outputPath: undefined! }),
    );
    const { exitCode, stderr } = await test.get(["-O", "out.bin"]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /the daemon says that it has written 1000000 bytes to .*out\.bin, nothing is there; .* use --transfer-from-dfdaemon/,
    );
  });

  it("refuses a forced hard link to a file of the daemon's that belongs to another user", async () => {
    await using test = await open();
    const { exitCode, stderr } = await test.get(["-O", "out.bin", "--force-hard-link"], {
      uid: otherUser,
    });
    expect(exitCode).toBe(1);
    expect(stderr).toContain("Cannot make a hard link: the daemon's socket is user");
  });

  it("takes the content when the daemon is another user though its socket is this one's", async () => {
    await using test = await open(async function* (download) {
      if (download.outputPath) throw status("PERMISSION_DENIED", "the daemon runs as user 7");
      yield* task.serve(download);
    });
    expect((await test.get(["-O", "out.bin"])).exitCode).toBe(0);
    expect((await readFile(test.output)).equals(content)).toBe(true);
    const [first, second] = test.daemon.downloads;
    expect(first).toMatchObject({ outputPath: test.output, extension: { uid: process.getuid!() } });
    expect(second).toMatchObject({ needPieceContent: true, extension: null });

    const linked = await test.get(["-O", "link.bin", "--force-hard-link"]);
    expect(linked.exitCode).toBe(1);
    expect(linked.stderr).toContain("the daemon runs as user 7");
    expect(await test.files()).toEqual(["out.bin"]);
  });

  it("says why when the daemon denies the download itself", async () => {
    await using test = await open(failWith(status("PERMISSION_DENIED", "not this one")));
    const { exitCode, stderr } = await test.get(["-O", "out.bin"]);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: /not this one/ });
  });

  it("prints JSON lines to standard output for programs", async () => {
    await using test = await open();
    const { stdout, stderr } = await test.get(["-O", "out.bin", "--json"]);
    expect(stderr).toBe("");
    const events = stdout
      .toString()
      .trim()
      .split("\n")
      .map((line): Record<string, unknown> => JSON.parse(line));
    expect(events.map(({ event }) => event)).toEqual(["started", "progress", "done"]);
    expect(events[0]).toMatchObject({
      url,
      taskId: "a".repeat(64),
      contentLength: 1_000_000,
      length: 1_000_000,
      pieceCount: 4,
    });
    expect(events.at(-1)).toMatchObject({
      length: 1_000_000,
      done: 1_000_000,
      fromOrigin: 1_000_000,
      fromLocal: 0,
      fromParents: {},
    });
  });

  it("prints JSON lines to standard error when the file goes to standard output", async () => {
    await using test = await open();
    const { stdout, stderr } = await test.get(["-O", "-", "--json", "--no-progress"]);
    expect(stdout.equals(content)).toBe(true);
    expect(
      stderr
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).event),
    ).toEqual(["started", "done"]);
  });

  it("prints an error as JSON, with the exit code", async () => {
    await using test = await open(failWith(status("NOT_FOUND", "Cannot find it")));
    const { exitCode, stdout } = await test.get(["-O", "out.bin", "--json"]);
    expect(JSON.parse(stdout.toString())).toEqual({
      event: "error",
      code: "ERR_DOWNLOAD",
      message: "Cannot find it",
      exitCode,
      url,
      status: "NOT_FOUND",
    });
    const usage = await runInProcess(["--json"]);
    expect(JSON.parse(usage.stdout.toString())).toMatchObject({
      event: "error",
      code: "ERR_USAGE",
      exitCode: 2,
    });
  });

  it("draws a bar on a terminal and takes it away again", async () => {
    await using test = await open();
    const { stderr } = await test.get(["-O", "out.bin"], {
      isTTY: true,
      env: { LANG: "C.UTF-8", TERM: "xterm" },
    });
    expect(stderr).toMatch(/^\rout\.bin {4}0% /);
    expect(stderr.split("\r\u001b[K").at(-1)).toMatch(/^out\.bin: 977 KiB in [^\r]*\n$/);
    expect((await test.get(["-O", "b", "--no-progress"], { isTTY: true })).stderr).not.toContain(
      "\r",
    );
  });

  it("draws no bar amid a file on the same terminal", async () => {
    await using test = await open();
    const stdout = new CapturedStream();
    stdout.isTTY = true;
    const { stderr } = await test.get(["-O", "-"], { isTTY: true, stdout });
    expect(stderr).toMatch(/^model\.bin: 977 KiB in [^\r]*\n$/);
  });

  it("prints help and version", async () => {
    const help = await runInProcess(["--help"]);
    expect(help).toMatchObject({ exitCode: 0, stderr: "" });
    expect(help.stdout.toString()).toContain("-O, --output FILE");
    expect((await runInProcess(["-V"])).stdout.toString()).toMatch(/^dfget \d+\.\d+\.\d+\n$/);
  });

  it("exits with 2 on wrong usage, in colour on a terminal only", async () => {
    const plain = await runInProcess([url]);
    expect(plain.exitCode).toBe(2);
    expect(plain.stderr).toBe(
      "Wrong Usage!\n  Error    Cannot start: no output was given, expected -O FILE, or '-O -' for standard output\n  Code     ERR_USAGE\n\nTry 'dfget --help'.\n",
    );
    const colored = await runInProcess([url], { isTTY: true });
    expect(colored.stderr).toContain("\u001b[1;31mWrong Usage!\u001b[0m");
    expect((await runInProcess([url], { isTTY: true, env: { NO_COLOR: "1" } })).stderr).toBe(
      plain.stderr,
    );
  });

  it("names a CA file that cannot be used", async () => {
    await using test = await open();
    const missing = await test.get(["-O", "out.bin", "--ca-cert", "missing.pem"]);
    expect(missing.exitCode).toBe(2);
    expect(missing.stderr).toMatch(/Cannot read --ca-cert .*missing\.pem: ENOENT/);
    await writeFile(join(test.directory, "empty.pem"), "nothing");
    expect((await test.get(["-O", "out.bin", "--ca-cert", "empty.pem"])).stderr).toContain(
      "it holds no certificate, expected PEM",
    );
  });

  it("does not show passwords and signatures of the URL", async () => {
    const secret = "http://me:hunter2@origin.example/f?X-Amz-Signature=abc123&v=1";
    const { stderr } = await runInProcess([secret, "-O", "/nonexistent/x"]);
    expect(stderr).toContain("http://me:***@origin.example/f?X-Amz-Signature=***&v=1");
    expect(stderr).not.toMatch(/hunter2|abc123/);
  });
});
