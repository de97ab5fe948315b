import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createConsoleLog } from "./console-log.ts";

describe("createConsoleLog", () => {
  it("makes lines for people of pino's", () => {
    let text = "";
    const logger = pino(
      { base: null },
      createConsoleLog({ write: (more: string) => (text += more) }),
    );
    logger.warn({ host: "a", count: 3, err: new Error("no route") }, "seed did not fetch the task");
    logger.info("stopping");
    expect(text).toMatch(
      /^[0-9:.]{12} WARN {2}seed did not fetch the task: no route host=a count=3\n[0-9:.]{12} INFO {2}stopping\n$/,
    );
  });
});
