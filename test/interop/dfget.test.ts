import { stat } from "node:fs/promises";
import { beforeAll, expect, it } from "vitest";
import type { RunningDaemon } from "../support/daemon.ts";
import { LENGTH, useFiles } from "./support/files.ts";
import { describeInterop, useMixedCluster } from "./support/interop.ts";
import type { TheirDaemon } from "./support/their-cluster.ts";

const WAYS = [
  ["by a file that the daemon makes", []],
  ["over the socket", ["--transfer-from-dfdaemon"]],
] as const;

describeInterop("Dragonfly's dfget on our daemon's socket", () => {
  const cluster = useMixedCluster("file");
  const files = useFiles();
  let daemon: RunningDaemon;

  beforeAll(async () => {
    daemon = await cluster.startDaemon();
  });

  it.each(WAYS)("gets a new file, and the same again, %s", async (_way, flags) => {
    const { path, url } = files.serve();
    expect(await cluster.fetchTheirs(url, { daemon, flags })).toBe(files.sha256);
    expect(await cluster.fetchTheirs(url, { daemon, flags })).toBe(files.sha256);
    expect(files.servedBytes(path)).toBe(LENGTH);
  });

  it("gets what our dfget has fetched: the task ids are the same", async () => {
    const { path, url } = files.serve();
    const signed = `${url}?b=2&X-Amz-Signature=secret&a=1%20`;
    const flags = ["--tag", "a tag", "--application", "tests", "--piece-length", "8mib"];
    await cluster.fetch(signed, { daemon, flags });
    expect(await cluster.fetchTheirs(`${url}?a=1+&b=2`, { daemon, flags })).toBe(files.sha256);
    expect(files.servedBytes(path)).toBe(LENGTH);
  });

  it("puts up with a digest that is right, and says what is wrong with one that is not", async () => {
    const { url } = files.serve();
    const right = ["--digest", `sha256:${files.sha256}`];
    expect(await cluster.fetchTheirs(url, { daemon, flags: right })).toBe(files.sha256);

    const wrong = ["--digest", `sha256:${"0".repeat(64)}`];
    const { exit, stdout, output } = await cluster.startTheirDfget(url, { daemon, flags: wrong })
      .result;
    expect(exit.code).toBe(1);
    expect(stdout).toMatch(/digest/i);
    await expect(stat(output)).rejects.toThrow("ENOENT");
  });

  it("is told what the origin says of a file that is not there", async () => {
    const url = new URL("/none", files.serve().url).href;
    const { exit, stdout, output } = await cluster.startTheirDfget(url, { daemon }).result;
    expect(exit.code).toBe(1);
    expect(stdout).toContain("404");
    await expect(stat(output)).rejects.toThrow("ENOENT");
  });
});

describeInterop("our dfget on a Dragonfly daemon's socket", () => {
  const cluster = useMixedCluster("file");
  const files = useFiles();
  let daemon: TheirDaemon;

  beforeAll(async () => {
    const scheduler = await cluster.startTheirScheduler();
    daemon = await cluster.startTheirDaemon({ name: "node", schedulers: [scheduler.address] });
  });

  it.each(WAYS)("gets a new file, and the same again, %s", async (_way, flags) => {
    const { path, url } = files.serve();
    const first = await cluster.fetch(url, { daemon, flags });
    expect(first).toMatchObject({ sha256: files.sha256, length: LENGTH, done: LENGTH });
    const second = await cluster.fetch(url, { daemon, flags });
    expect(second).toMatchObject({ sha256: files.sha256, fromLocal: LENGTH });
    expect(files.servedBytes(path)).toBe(LENGTH);
  });

  it("gets what Dragonfly's dfget has fetched: the task ids are the same", async () => {
    const { path, url } = files.serve();
    const flags = ["--tag", "a tag", "--application", "tests", "--piece-length", "8mib"];
    await cluster.fetchTheirs(`${url}?a=1+&b=2`, { daemon, flags });
    const signed = `${url}?b=2&X-Amz-Signature=secret&a=1%20`;
    const again = await cluster.fetch(signed, { daemon, flags });
    expect(again).toMatchObject({ sha256: files.sha256, fromLocal: LENGTH });
    expect(files.servedBytes(path)).toBe(LENGTH);
  });

  it("is told what the origin says of a file that is not there", async () => {
    const url = new URL("/none", files.serve().url).href;
    const { exit, error } = await cluster.runDfget(url, { daemon });
    expect(exit.code).toBe(1);
    expect(error).toMatchObject({ status: "INTERNAL", origin: { statusCode: 404 } });
  });
});
