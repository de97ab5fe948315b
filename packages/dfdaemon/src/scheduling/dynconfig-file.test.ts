import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import { dynconfigFile } from "./dynconfig-file.ts";
import type { SchedulerSource } from "./scheduler-source.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "damselfly-dynconfig-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const looked: string[] = [];

function source(options: { readonly seed?: boolean } = {}): SchedulerSource {
  looked.length = 0;
  return dynconfigFile(join(directory, "dynconfig.yaml"), {
    seed: options.seed ?? false,
    logger: SILENT_LOGGER,
    lookUp: async (hostname) => {
      looked.push(hostname);
      return [{ address: "10.9.9.9", family: 4 }];
    },
  });
}

async function names(text: string): Promise<string[]> {
  await writeFile(join(directory, "dynconfig.yaml"), text);
  const { schedulers } = await source().list(new AbortController().signal);
  return schedulers.map(({ name }) => name);
}

describe("dynconfigFile", () => {
  it("names the schedulers of scheduler.addrs", async () => {
    const text = "scheduler:\n  addr: ignored:1\n  addrs: ['10.0.0.1:8002', '[fd00::1]:8003']\n";
    expect(await names(text)).toEqual(["10.0.0.1:8002", "[fd00::1]:8003"]);
    expect(looked).toEqual([]);
  });

  it("looks up scheduler.addr where there are no addrs, and Dragonfly's default where there is neither", async () => {
    expect(await names("scheduler: { addr: 'headless.test:8002', addrs: [] }")).toEqual([
      "10.9.9.9:8002",
    ]);
    expect(looked).toEqual(["headless.test"]);
    await names("");
    expect(looked).toEqual(["dragonfly-scheduler"]);
  });

  it("heeds the block list for daemons, or for seeds", async () => {
    const section = (tag: string): string =>
      `{ blockList: { task: { download: { tags: ['${tag}'] } } } }`;
    await writeFile(
      join(directory, "dynconfig.yaml"),
      `scheduler: { addrs: ['10.0.0.1:1'] }\nclientConfig: ${section("daemon")}\nseedClientConfig: ${section("seed")}\n`,
    );
    for (const seed of [false, true]) {
      const { blockLists } = await source({ seed }).list(new AbortController().signal);
      const blocks = (tag: string): boolean | undefined =>
        blockLists?.get(0)?.blocks({ url: "http://origin.test", tag, priority: "LEVEL0" });
      expect([blocks("daemon"), blocks("seed")]).toEqual([!seed, seed]);
    }
  });

  it("says what is wrong with the file, and that it is not there", async () => {
    const { signal } = new AbortController();
    await expect(source().list(signal)).rejects.toMatchObject({
      code: "ERR_SCHEDULER",
      message: expect.stringContaining("ENOENT"),
    });
    await expect(names("scheduler: { addrs: 7 }")).rejects.toThrow("addrs");
    await expect(names("scheduler: { addrs: [not-an-address] }")).rejects.toThrow(
      "Cannot use scheduler 'not-an-address'",
    );
    await expect(names(": : :")).rejects.toThrow("Cannot read");
  });
});
