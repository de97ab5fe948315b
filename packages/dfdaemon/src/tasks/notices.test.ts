import { describe, expect, it } from "vitest";
import type { OriginWait } from "../origins/origin.ts";
import { Notices, withNotices } from "./notices.ts";

const wait = (waitMs: number, reason = "it is busy"): OriginWait => ({
  kind: "asked",
  waitMs,
  reason,
  attempt: 1,
});
const textOf = (reason = "it is busy"): string =>
  `waiting for the origin: it asked to come back in 5 s (${reason})`;

describe("Notices", () => {
  it("tells once what eight parts of a file wait for, and again what is new", () => {
    let nowMs = 0;
    const notices = new Notices(() => nowMs);
    for (let count = 0; count < 8; count += 1) notices.add(wait(5000));
    notices.add(wait(5000, "it is down"));
    nowMs = 5000;
    notices.add(wait(5000, "it is down"));
    const texts = [1, 2, 3, 4].map(() => notices.take()?.text);
    expect(texts).toEqual([textOf(), textOf("it is down"), textOf("it is down"), undefined]);
  });

  it("leaves out what is over in a moment, and holds a bounded number", () => {
    const notices = new Notices();
    notices.add(wait(999));
    expect(notices.take()).toBeUndefined();
    for (let count = 0; count < 100; count += 1) notices.add(wait(5000, String(count)));
    let heldCount = 0;
    while (notices.take() !== undefined) heldCount += 1;
    expect(heldCount).toBe(16);
  });
});

describe("withNotices", () => {
  it("yields every event in order, and notices while the next one is waited for", async () => {
    const notices = new Notices();
    let goOn: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* events(): AsyncGenerator<string, void, undefined> {
      yield "first";
      await held;
      yield "second";
    }
    const seen: unknown[] = [];
    for await (const event of withNotices(events(), notices, () => expect.unreachable())) {
      seen.push(typeof event === "string" ? event : event.text);
      if (event === "first") notices.add(wait(5000));
      else if (typeof event !== "string") goOn();
    }
    expect(seen).toEqual(["first", textOf(), "second"]);
  });

  it("passes a failure on", async () => {
    async function* events(): AsyncGenerator<string, void, undefined> {
      yield "first";
      throw new Error("broken");
    }
    const seen: unknown[] = [];
    const reading = (async () => {
      const onLeave = (): void => expect.unreachable();
      for await (const event of withNotices(events(), new Notices(), onLeave)) seen.push(event);
    })();
    await expect(reading).rejects.toThrow("broken");
    expect(seen).toEqual(["first"]);
  });

  it("ends what is waited for when the reader leaves at a notice", async () => {
    const left = new AbortController();
    let isClosed = false;
    async function* events(): AsyncGenerator<string, void, undefined> {
      try {
        await new Promise((_, reject) => {
          left.signal.addEventListener("abort", () => reject(new Error("left")));
        });
        yield "never";
      } finally {
        isClosed = true;
      }
    }
    const notices = new Notices();
    notices.add(wait(5000));
    for await (const event of withNotices(events(), notices, () => left.abort())) {
      expect(event).toMatchObject({ kind: "waiting", waitMs: 5000 });
      break;
    }
    expect(isClosed).toBe(true);
  });
});
