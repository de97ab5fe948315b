import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openLog } from "./open-log.ts";

describe("openLog", () => {
  it("appends JSON lines to a file named after the process, from its level on, without secrets", async () => {
    const directory = await mkdtemp(join(tmpdir(), "damselfly-log-"));
    try {
      const log = openLog({
        name: "dfdaemon",
        level: "info",
        directory: join(directory, "new"),
        console: false,
        isTerminal: false,
      });
      log.debug({}, "too fine");
      log.info({ taskId: "1", header: { authorization: "Bearer secret" } }, "task done");
      const text = await readFile(join(directory, "new", "dfdaemon.log"), "utf8");
      expect(text).not.toContain("secret");
      const lines = text.trim().split("\n");
      expect(lines).toHaveLength(1);
      expect(JSON.parse(lines[0]!)).toMatchObject({
        name: "dfdaemon",
        level: 30,
        taskId: "1",
        msg: "task done",
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("begins a new file when one is full, and keeps as many as asked for", async () => {
    const directory = await mkdtemp(join(tmpdir(), "damselfly-log-"));
    try {
      const log = openLog({
        name: "dfdaemon",
        level: "info",
        directory,
        olderFilesMax: 1,
        fileLengthMax: 1_000,
        console: false,
        isTerminal: false,
      });
      for (let number = 0; number < 50; number++) log.info({}, `line ${number}`);
      const path = join(directory, "dfdaemon.log");
      expect(await readFile(path, "utf8")).toContain('"line 49"');
      expect((await stat(`${path}.1`)).size).toBeLessThanOrEqual(1_000);
      await expect(stat(`${path}.2`)).rejects.toThrow("ENOENT");
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("says where it cannot write", async () => {
    const directory = await mkdtemp(join(tmpdir(), "damselfly-log-"));
    try {
      await writeFile(join(directory, "file"), "");
      const open = () =>
        openLog({
          name: "dfdaemon",
          level: "info",
          directory: join(directory, "file"),
          console: false,
          isTerminal: false,
        });
      expect(open).toThrow(expect.objectContaining({ code: "ERR_SETTINGS_FILE" }));
      expect(open).toThrow(/^Cannot log to .*file\/dfdaemon\.log: E/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
