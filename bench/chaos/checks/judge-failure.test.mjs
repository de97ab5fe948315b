import { describe, expect, it } from "vitest";
import { judgeFailure } from "./judge-failure.mjs";

const CALM = { incidents: [], changeCount: 0, isBlind: false, lengths: [100] };
const download = { node: "peer-1", file: "f", mode: "file" };

function judge(error, { incidents = [], ...context } = {}, manner = {}) {
  const failure = { download: { ...download, ...manner }, error: { message: "Cannot.", ...error } };
  return judgeFailure(failure, {
    ...CALM,
    ...context,
    incidents: incidents.map((fault) => ({ fault })),
  });
}

describe("judgeFailure", () => {
  it.each([
    ["ERR_DAEMON_UNREACHABLE", { kind: "kill-daemon", target: "peer-1" }],
    ["ERR_DOWNLOAD", { kind: "kill-tree", target: "peer-1" }],
    ["ERR_DOWNLOAD", { kind: "corrupt-journal", target: "peer-1", isDown: true }],
    ["ERR_DOWNLOAD", { kind: "cut", target: "origin" }],
    ["ERR_DOWNLOAD", { kind: "cut", target: "peer-1" }],
    ["ERR_DOWNLOAD", { kind: "split", target: ["peer-3"] }],
    ["ERR_DOWNLOAD", { kind: "origin-error", target: "f" }],
    ["ERR_DOWNLOAD", { kind: "origin-error", target: "g", isEverywhere: true }],
    ["ERR_NO_SPACE", { kind: "full-disk", target: "peer-1" }],
  ])("takes %s for an answer to %o", (code, fault) => {
    expect(judge({ code }, { incidents: [fault] })).toBeUndefined();
    expect(judge({ code })).toBe("nothing explains it");
  });

  it.each([
    ["ERR_DOWNLOAD", { kind: "kill-daemon", target: "peer-2" }],
    ["ERR_DOWNLOAD", { kind: "kill-worker", target: "peer-1" }],
    ["ERR_DOWNLOAD", { kind: "kill-scheduler", target: "scheduler" }],
    ["ERR_DOWNLOAD", { kind: "lie", target: "f" }],
    ["ERR_DOWNLOAD", { kind: "origin-error", target: "g", isEverywhere: false }],
    ["ERR_DOWNLOAD", { kind: "cut", target: "peer-2" }],
    ["ERR_NO_SPACE", { kind: "full-disk", target: "peer-2" }],
    ["ERR_TIMEOUT", { kind: "stop-daemon", target: "peer-1" }],
  ])("takes %s for no answer to %o", (code, fault) => {
    expect(judge({ code }, { incidents: [fault] })).toBe("nothing explains it");
  });

  it("lets what the user wished end as he wished", () => {
    expect(judge({ code: "ERR_TIMEOUT" }, {}, { timeoutSeconds: 5 })).toBeUndefined();
    const leaves = { signal: "SIGINT", afterMs: 1 };
    expect(judge({ code: "ERR_INTERRUPTED" }, {}, { leaves })).toBeUndefined();
    expect(judge({ code: "ERR_INTERRUPTED" })).toBe("nothing explains it");
  });

  it("lets a change of the file be an error where bytes are out already, or wanted to be others", () => {
    const changed = { changeCount: 1 };
    expect(judge({ code: "ERR_DOWNLOAD" }, changed)).toBe("nothing explains it");
    expect(judge({ code: "ERR_DOWNLOAD" }, changed, { mode: "stdout" })).toBeUndefined();
    expect(judge({ code: "ERR_OUTPUT" }, changed, { mode: "stdout" })).toBeUndefined();
    expect(judge({ code: "ERR_OUTPUT" }, changed)).toBe("nothing explains it");
    const blind = { isBlind: true };
    expect(judge({ code: "ERR_OUTPUT" }, blind, { mode: "stdout" })).toBeUndefined();
    expect(judge({ code: "ERR_OUTPUT" }, blind)).toBe("nothing explains it");
    expect(judge({ code: "ERR_DIGEST_MISMATCH" }, changed, { mode: "digest" })).toBeUndefined();
    expect(judge({ code: "ERR_DIGEST_MISMATCH" }, {}, { mode: "digest" })).toBe(
      "nothing explains it",
    );
    const range = { mode: "range", range: { from: 0, to: 100 } };
    expect(judge({ code: "ERR_RANGE" }, {}, range)).toBeUndefined();
    expect(judge({ code: "ERR_RANGE" }, { lengths: [101] }, range)).toBe("nothing explains it");
  });

  it("lets an origin that proves nothing be an error where bytes are out already", () => {
    const incidents = [{ kind: "origin-error", target: "f" }];
    expect(judge({ code: "ERR_OUTPUT" }, { incidents }, { mode: "stdout" })).toBeUndefined();
    expect(judge({ code: "ERR_OUTPUT" }, { incidents })).toBe("nothing explains it");
  });

  it("lets damage be no error, also where content is handed on as it comes: what is found to be damaged is fetched again", () => {
    for (const message of [
      "Cannot read piece 3 of task 1: what is on disk does not match its digest",
      "Cannot read task 1: piece 3 of 5 is not here",
    ])
      for (const mode of ["transfer", "stdout", "range", "file"])
        expect(judge({ code: "ERR_DOWNLOAD", message }, {}, { mode })).toBe("nothing explains it");
  });

  it("wants a code that there is and a sentence, whatever went wrong", () => {
    const incidents = [{ kind: "kill-daemon", target: "peer-1" }];
    expect(judge({ code: "ERR_ODD" }, { incidents })).toMatch(/is none/);
    expect(judge({ code: "ERR_DOWNLOAD", message: "" }, { incidents })).toBe("it says nothing");
    const trace = "TypeError: x\n    at run (a.js:1:1)";
    expect(judge({ code: "ERR_DOWNLOAD", message: trace }, { incidents })).toMatch(/no sentence/);
  });
});
