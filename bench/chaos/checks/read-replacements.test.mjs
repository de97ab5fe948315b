import { describe, expect, it } from "vitest";
import { readReplacements } from "./read-replacements.mjs";

const line = (time, worker, what) =>
  JSON.stringify({ time, worker, msg: `data-plane process ${worker} ${what}` });
const ENDED =
  "was ended by SIGKILL: another one is started now, and what it was moving is asked for again";

describe("readReplacements", () => {
  it("finds from each end to when another process served, whatever became of tries in between", () => {
    const log = [
      line(10, 0, "serves"),
      line(20, 1, "serves"),
      line(100, 0, ENDED),
      line(110, 1, ENDED),
      line(150, 0, "could not be started: …: another one is started in 0.25 s, and what …"),
      line(400, 1, "serves"),
      line(600, 0, "serves"),
      "not JSON",
    ];
    expect(readReplacements(log.join("\n"))).toEqual([290, 500]);
  });

  it("does not count what ended with its daemon", () => {
    const log = [line(100, 0, ENDED), "=== 2026 SIGKILL to peer-1", line(900, 0, "serves"), "{"];
    expect(readReplacements(log.join("\n"))).toEqual([]);
  });
});
