import { getEventListeners, once } from "node:events";
import { describe, expect, it } from "vitest";
import { joinSignals } from "./join-signals.ts";

describe("joinSignals", () => {
  it("aborts with the reason of the first that does, before or after", () => {
    const [one, two] = [new AbortController(), new AbortController()];
    const joined = joinSignals(one.signal, two.signal);
    expect(joined.signal.aborted).toBe(false);
    two.abort(new Error("second"));
    one.abort(new Error("first"));
    expect(joined.signal.reason).toMatchObject({ message: "second" });
    expect(joinSignals(one.signal, two.signal).signal.reason).toMatchObject({ message: "first" });
  });

  it("leaves nothing on any of them once it is disposed, or has aborted", () => {
    const [one, two, three] = [new AbortController(), new AbortController(), new AbortController()];
    const listenersOf = () =>
      [one, two, three].map(({ signal }) => getEventListeners(signal, "abort").length);
    {
      using joined = joinSignals(one.signal, two.signal);
      expect(joined.signal.aborted).toBe(false);
      expect(listenersOf()).toEqual([1, 1, 0]);
    }
    expect(listenersOf()).toEqual([0, 0, 0]);
    const joined = joinSignals(one.signal, three.signal);
    three.abort();
    expect(joined.signal.aborted).toBe(true);
    expect(listenersOf()).toEqual([0, 0, 0]);
  });

  it("may hang on one signal as often as there is work, which is no leak to be warned of", async () => {
    const warnings: Error[] = [];
    const warn = (warning: Error) => warnings.push(warning);
    process.on("warning", warn);
    const [closing, work] = [new AbortController(), new AbortController()];
    for (let count = 0; count < 20; count++) joinSignals(closing.signal, work.signal);
    process.emitWarning("the last");
    await once(process, "warning");
    process.off("warning", warn);
    expect(warnings.map(({ message }) => message)).toEqual(["the last"]);
  });
});
