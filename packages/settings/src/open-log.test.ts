import { mkdtemp, readFile, rm } from "node:fs/promises";
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
});
