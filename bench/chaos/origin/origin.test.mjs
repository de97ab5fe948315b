import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createContent } from "../schedule/content.mjs";
import { openOrigin } from "./origin.mjs";

const LENGTH = 300_000;
const plain = { validators: "both", ranges: true, isChunked: false, changes: [] };
const place = { ip: `127.9.${process.pid % 250}.1`, prefix: [] };

describe.runIf(process.platform === "linux")("the origin", () => {
  let directory;
  let origin;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "damselfly-origin-"));
    const log = join(directory, "log");
    origin = await openOrigin({ place, start: 1, run: `${process.pid}-test`, log });
  });
  afterAll(async () => {
    origin.process.killGroup("SIGKILL");
    await origin.process.ended;
    rmSync(directory, { recursive: true });
  });

  const bytesOf = (name, version, length = LENGTH) =>
    Buffer.concat([...createContent({ start: 1, name, version, length }).parts()]);
  const get = async (name, header = {}) => {
    const response = await fetch(origin.urlOf(name), { headers: header });
    return { response, body: Buffer.from(await response.arrayBuffer()) };
  };

  it("serves a file, and ranges of it while it is the same", async () => {
    await origin.tell({ file: { ...plain, name: "a", length: LENGTH } });
    const { response, body } = await get("a");
    expect(body.equals(bytesOf("a", 0))).toBe(true);
    const etag = response.headers.get("etag");
    const part = await get("a", { range: "bytes=100-199", "if-range": etag });
    expect([part.response.status, part.body]).toEqual([206, bytesOf("a", 0).subarray(100, 200)]);
    const old = await get("a", { range: "bytes=100-199", "if-range": '"another"' });
    expect([old.response.status, old.body.byteLength]).toEqual([200, LENGTH]);
    expect((await get("a", { range: `bytes=${LENGTH}-` })).response.status).toBe(416);
    expect((await get("nobody")).response.status).toBe(404);
  });

  it("has another version when it is told to, and counts what it sent of each", async () => {
    const changes = [{ length: 1_000 }];
    await origin.tell({ file: { ...plain, name: "b", length: LENGTH, changes } });
    const before = await get("b");
    await origin.tell({ change: { name: "b", cutsRunning: false } });
    const { response, body } = await get("b");
    expect(body.equals(bytesOf("b", 1, 1_000))).toBe(true);
    for (const name of ["etag", "last-modified"])
      expect(response.headers.get(name)).not.toBe(before.response.headers.get(name));
    expect((await origin.count()).b).toEqual({ 0: LENGTH, 1: 1_000 });
  });

  it.each([
    ["503 with Retry-After", async (name) => (await get(name)).response.headers.get("retry-after")],
    ["500", async (name) => (await get(name)).response.status === 500],
    ["404", async (name) => (await get(name)).response.status === 404],
    ["reset", (name) => get(name).catch(() => "failed")],
    ["cut", (name) => get(name).catch(() => "failed")],
    [
      "no HEAD",
      async (name) => (await fetch(origin.urlOf(name), { method: "HEAD" })).status === 405,
    ],
    [
      "200 for a range",
      async (name) => (await get(name, { range: "bytes=0-1" })).response.status === 200,
    ],
  ])("misbehaves as told (%s), and well again after that", async (how, look) => {
    const name = `bad-${how.replaceAll(" ", "-")}`;
    await origin.tell({ file: { ...plain, name, length: LENGTH } });
    await origin.tell({ fault: { id: "f1", how, name, retryAfterSeconds: 2 } });
    expect(await look(name)).toBeTruthy();
    expect(await look("a")).not.toBe("failed"); // others are spared
    await origin.tell({ heal: "f1" });
    expect((await get(name)).body.equals(bytesOf(name, 0))).toBe(true);
  });

  it("writes a line for every request", async () => {
    await origin.tell({ file: { ...plain, name: "c", length: 10 } });
    await get("c", { range: "bytes=2-4" });
    await expect
      .poll(() =>
        readFileSync(join(directory, "log"), "utf8")
          .split("\n")
          .find((line) => line.includes('"c"')),
      )
      .toContain('"range":"bytes=2-4"');
  });
});
