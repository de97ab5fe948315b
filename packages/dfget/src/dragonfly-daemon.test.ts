import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { status } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";

import {
  FakeTask,
  openTemporaryDirectory,
  runInProcess,
  serveDragonfly,
  serveFakeDaemon,
  type FakeDownload,
} from "./testing/fake-daemon.ts";

const url = "http://origin.example/model.bin";
const content = randomBytes(1_000_000);
const task = new FakeTask(content, 300_000);
const sha256 = createHash("sha256").update(content).digest("hex");

async function open(downloadTask: FakeDownload) {
  const directory = await openTemporaryDirectory();
  const daemon = await serveFakeDaemon(join(directory.path, "daemon.sock"), downloadTask);
  const output = join(directory.path, "out.bin");
  return {
    daemon,
    output,
    path: (name: string) => join(directory.path, name),
    get: (argv: readonly string[]) =>
      runInProcess([url, "-e", daemon.socketPath, "-O", output, ...argv], { cwd: directory.path }),
    async [Symbol.asyncDispose]() {
      await daemon[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

describe("dfget on the socket of a Dragonfly daemon", () => {
  const uid = process.getuid?.();

  it.each([
    ["--no-progress", { uid }],
    ["--transfer-from-dfdaemon", undefined],
    ["--force-hard-link", { uid }],
  ])(
    "gets a file with %s, and tells nothing that only Damselfly understands but who asks for an output",
    async (flag, extension) => {
      await using test = await open((download) => serveDragonfly(task, download));
      expect((await test.get([flag])).exitCode).toBe(0);
      expect((await readFile(test.output)).equals(content)).toBe(true);
      const told = test.daemon.downloads[0]?.extension ?? undefined;
      if (extension === undefined) expect(told).toBeUndefined();
      else
        expect(told).toMatchObject({ ...extension, insecureSkipVerify: false, revalidate: false });
    },
  );

  it("gets a file that the daemon has already, with the task's end at its beginning", async () => {
    await using test = await open((download) =>
      serveDragonfly(task, download, { isFinished: true }),
    );
    const { exitCode, stdout } = await test.get(["--json"]);
    expect(exitCode).toBe(0);
    expect(String(stdout)).toContain(`"fromLocal":${content.length}`);
  });

  it("leaves no file behind when the daemon has linked one and failed", async () => {
    await using test = await open((download) =>
      serveDragonfly(task, download, { failAfter: 2, reason: status("INTERNAL", "no luck") }),
    );
    const { exitCode, stderr } = await test.get([]);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: /no luck/ });
    expect(existsSync(test.output)).toBe(false);
  });

  it("leaves alone what somebody else has put there meanwhile", async () => {
    const own = Buffer.from("mine");
    await using test = await open(async function* (download) {
      yield* serveDragonfly(task, download, { pieceNumbers: [0] });
      await rm(download.outputPath!);
      await writeFile(download.outputPath!, own);
      throw status("INTERNAL", "output path is already exists");
    });
    expect((await test.get([])).exitCode).toBe(1);
    expect(await readFile(test.output)).toEqual(own);
  });

  it("leaves alone what somebody else has put there before the daemon began", async () => {
    const own = Buffer.from("mine");
    await using test = await open(async function* (download) {
      await writeFile(download.outputPath!, own);
      yield task.started();
      throw status("ALREADY_EXISTS", "it exists already");
    });
    expect((await test.get([])).exitCode).toBe(1);
    expect(await readFile(test.output)).toEqual(own);
  });

  it("leaves a file alone that it could not replace", async () => {
    const own = Buffer.from("mine");
    await using test = await open((download) =>
      serveDragonfly(task, download, { failAfter: 1, reason: status("INTERNAL", "no luck") }),
    );
    await writeFile(test.output, own);
    expect((await test.get(["--overwrite"])).exitCode).toBe(1);
    expect(await readFile(test.output)).toEqual(own);
  });

  it.each([
    ["right", sha256, 0],
    ["wrong", "0".repeat(64), 1],
  ])("checks a %s digest of a file that was replaced", async (_word, digest, expected) => {
    await using test = await open((download) => serveDragonfly(task, download));
    await writeFile(test.output, "old");
    const { exitCode, stdout } = await test.get([
      "--overwrite",
      "--json",
      "--digest",
      `sha256:${digest}`,
    ]);
    expect(exitCode).toBe(expected);
    expect(existsSync(test.output)).toBe(expected === 0);
    if (expected === 1) expect(String(stdout)).toContain("ERR_DIGEST_MISMATCH");
  });

  it("says what the origin answered", async () => {
    const details = Buffer.from(
      '{"message":"404 Not Found","header":{"x-why":"gone"},"status_code":404}',
    );
    await using test = await open((download) =>
      serveDragonfly(task, download, {
        failAfter: 0,
        reason: status("INTERNAL", "backend error: 404 Not Found", details),
      }),
    );
    const { exitCode, stderr } = await test.get([]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("404 Not Found");
    expect(stderr).toContain("x-why: gone");
  });

  it("knows a range that lies outside by its status", async () => {
    await using test = await open((download) =>
      serveDragonfly(task, download, {
        failAfter: 0,
        reason: status("FAILED_PRECONDITION", "RangeUnsatisfiable: Reversed range"),
      }),
    );
    const { stdout } = await test.get(["--range", "2000000-", "--json"]);
    expect(String(stdout)).toContain('"code":"ERR_RANGE"');
  });
});
