import { type PieceDownload, TransportError } from "@damselfly/transport";
import { codeOf } from "@damselfly/transport/conformance";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type LegEnd, RelayedContent } from "./relayed-content.ts";

const LENGTH = 1_000;
const CONTENT = Uint8Array.from({ length: LENGTH }, (_, index) => (index * 7) % 251);

/** Somebody who has the piece, and gives as much of it as he is told to. */
class ScriptedSource {
  readonly name: string;
  /** Offsets of the requests he got. */
  readonly asked: number[] = [];
  isFreed = true;
  /** He sends up to here, then waits. */
  sendsTo = Infinity;
  /** Here he breaks off. */
  breaksAt = Infinity;
  /** The end, with all bytes there, says that they are bad. */
  isDamaged = false;
  chunkLength = 100;
  #announces: (() => void) | undefined;
  #announced: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(name: string, script: Partial<ScriptedSource> = {}) {
    this.name = name;
    Object.assign(this, script);
  }

  /** Answers only when `announce` is called. */
  holdAnnouncement(): this {
    this.#announced = new Promise((resolve) => {
      this.#announces = resolve;
    });
    return this;
  }

  announce(): void {
    this.#announces?.();
  }

  goOn(script: Partial<Pick<ScriptedSource, "sendsTo" | "breaksAt">>): void {
    Object.assign(this, script);
    this.#wake();
  }

  async ask(offset: number, signal: AbortSignal): Promise<PieceDownload> {
    this.asked.push(offset);
    await untilAborted(this.#announced, signal);
    this.isFreed = false;
    const content = this.#content(offset, signal);
    return {
      piece: { number: 3, offset: 0, length: LENGTH, digest: "crc32:1" },
      content,
      [Symbol.asyncDispose]: async () => {
        this.isFreed = true;
      },
    };
  }

  async *#content(from: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let offset = from;
    while (offset < LENGTH) {
      if (offset >= this.breaksAt) throw broken(this.name);
      if (offset >= this.sendsTo) {
        const changed = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        await untilAborted(changed, signal);
        continue;
      }
      const stop = Math.min(LENGTH, this.sendsTo, this.breaksAt, offset + this.chunkLength);
      // The memory is used again, as transports do.
      const chunk = CONTENT.slice(offset, stop);
      yield chunk;
      chunk.fill(255);
      offset = stop;
    }
    if (this.isDamaged) throw new TransportError("ERR_PARENT_FAILED", "the piece is damaged");
  }
}

function broken(name: string): TransportError {
  return new TransportError("ERR_PIECE_TRUNCATED", `${name} broke off`);
}

async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function relay(
  options: {
    readonly failed?: (source: ScriptedSource, error: unknown) => ScriptedSource | undefined;
    readonly signal?: AbortSignal;
  } = {},
) {
  const failures: string[] = [];
  const ends: LegEnd<ScriptedSource>[] = [];
  const takers: string[] = [];
  const seen = { doubled: 0, endCount: 0 };
  const content = new RelayedContent<ScriptedSource>({
    pieceNumber: 3,
    range: { offset: 0, length: LENGTH },
    signal: options.signal ?? new AbortController().signal,
    now: () => 0,
    ask: async (source, { offset, length }, signal) => {
      expect(offset + length).toBe(LENGTH);
      const controller = new AbortController();
      signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
      const download = await source.ask(offset, controller.signal);
      return { download, controller, askedAt: 0, announcedAt: 0 };
    },
    failed: (source, error, { isCurrent }) => {
      failures.push(`${source.name}${isCurrent ? " broke" : " in vain"}`);
      return options.failed?.(source, error);
    },
    tookOver: ({ source, offset }) => void takers.push(`${source.name} from ${offset}`),
    legEnded: (end) => void ends.push(end),
    doubled: (length) => {
      seen.doubled += length;
    },
    ended: () => {
      seen.endCount += 1;
    },
  });
  return { content, failures, ends, takers, seen };
}

/** Takes what comes; `at` is called when so many bytes are there. */
async function read(
  content: RelayedContent<ScriptedSource>,
  at: (position: number) => void = () => {},
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let position = 0;
  for await (const chunk of content) {
    chunks.push(Buffer.from(chunk));
    position += chunk.byteLength;
    at(position);
  }
  return Buffer.concat(chunks);
}

describe("RelayedContent", () => {
  it("comes from one source if nobody else is asked", async () => {
    const [one] = [new ScriptedSource("one")];
    const { content, ends, seen } = relay();
    await content.open(one);
    expect((await read(content)).equals(CONTENT)).toBe(true);
    expect(ends).toMatchObject([{ source: one, length: LENGTH, how: "whole" }]);
    expect([one.isFreed, seen.endCount, seen.doubled]).toEqual([true, 1, 0]);
    expect(await content.next()).toEqual({ done: true, value: undefined });
  });

  it("goes on elsewhere from the byte wanted next while the consumer waits", async () => {
    const one = new ScriptedSource("one", { sendsTo: 450 });
    const two = new ScriptedSource("two");
    const { content, ends, takers } = relay();
    await content.open(one);
    const all = read(content, (position) => {
      if (position === 450) setImmediate(() => content.ask(two));
    });
    expect((await all).equals(CONTENT)).toBe(true);
    expect(two.asked).toEqual([450]);
    expect(takers).toEqual(["one from 0", "two from 450"]);
    expect(ends.map(({ how, length }) => [how, length])).toEqual([
      ["left", 450],
      ["whole", 550],
    ]);
    expect(one.isFreed).toBe(true);
  });

  it("stays with the first until the other announces, and counts what comes twice", async () => {
    const one = new ScriptedSource("one", { sendsTo: 300 });
    const two = new ScriptedSource("two").holdAnnouncement();
    const { content, seen, takers } = relay();
    await content.open(one);
    const all = read(content, (position) => {
      if (position === 300) {
        setImmediate(() => {
          content.ask(two);
          one.goOn({ sendsTo: 700 });
        });
      }
      if (position === 700) setImmediate(() => two.announce());
    });
    expect((await all).equals(CONTENT)).toBe(true);
    expect(two.asked).toEqual([300]);
    expect(seen.doubled).toBe(400);
    expect(takers).toEqual(["one from 0", "two from 300"]);
  });

  it("takes whoever announces first when the first has not, and lets go of the others", async () => {
    const one = new ScriptedSource("one").holdAnnouncement();
    const two = new ScriptedSource("two").holdAnnouncement();
    const three = new ScriptedSource("three").holdAnnouncement();
    const { content, takers } = relay();
    const opening = content.open(one);
    content.ask(two);
    content.ask(three);
    two.announce();
    await opening;
    expect((await read(content)).equals(CONTENT)).toBe(true);
    expect(takers).toEqual(["two from 0"]);
    one.announce();
    three.announce();
    await new Promise((resolve) => setImmediate(resolve));
    expect([one, two, three].map(({ isFreed }) => isFreed)).toEqual([true, true, true]);
  });

  it("asks whoever is named when one breaks off, and the next when that one is asked in vain", async () => {
    const three = new ScriptedSource("three");
    const two = new ScriptedSource("two");
    const one = new ScriptedSource("one", { breaksAt: 250 });
    two.ask = async () => {
      throw new TransportError("ERR_PIECE_NOT_FOUND", "not here");
    };
    const { content, failures, ends } = relay({
      failed: (source) => (source === one ? two : source === two ? three : undefined),
    });
    await content.open(one);
    expect((await read(content)).equals(CONTENT)).toBe(true);
    expect(failures).toEqual(["one broke", "two in vain"]);
    expect(three.asked).toEqual([250]);
    expect(ends.map(({ how }) => how)).toEqual(["broken", "whole"]);
  });

  it("goes on with whoever has been asked already when the first breaks off", async () => {
    const one = new ScriptedSource("one", { sendsTo: 100 });
    const two = new ScriptedSource("two").holdAnnouncement();
    const { content, failures } = relay();
    await content.open(one);
    const all = read(content, (position) => {
      if (position !== 100) return;
      setImmediate(() => {
        content.ask(two);
        one.goOn({ breaksAt: 100 });
        setImmediate(() => two.announce());
      });
    });
    expect((await all).equals(CONTENT)).toBe(true);
    expect(failures).toEqual(["one broke"]);
  });

  it("fails as what broke off did when nobody else is named", async () => {
    const one = new ScriptedSource("one", { breaksAt: 250 });
    const { content, seen } = relay();
    await content.open(one);
    await expect(read(content)).rejects.toThrow("one broke off");
    expect([one.isFreed, seen.endCount]).toEqual([true, 1]);
  });

  it("fails as the last one did that was asked in vain, if nobody announces", async () => {
    const one = new ScriptedSource("one");
    const two = new ScriptedSource("two");
    one.ask = two.ask = async function (this: ScriptedSource) {
      throw broken(this.name);
    };
    const { content, failures } = relay({
      failed: (source) => (source === one ? two : undefined),
    });
    await expect(content.open(one)).rejects.toThrow("two broke off");
    expect(failures).toEqual(["one in vain", "two in vain"]);
  });

  it("asks nobody else when the end says that every byte may be bad", async () => {
    const one = new ScriptedSource("one", { isDamaged: true });
    const two = new ScriptedSource("two");
    const { content, failures } = relay({ failed: () => two });
    await content.open(one);
    expect(await codeOf(read(content))).toBe("ERR_PARENT_FAILED");
    expect(failures).toEqual(["one broke"]);
    expect(two.asked).toEqual([]);
  });

  it("ends with the signal's reason, whoever is being waited for", async () => {
    const reason = new Error("enough");
    for (const state of ["opening", "reading", "moving", "broken"] as const) {
      const stop = new AbortController();
      const one = new ScriptedSource("one", { sendsTo: 100 });
      const two = new ScriptedSource("two").holdAnnouncement();
      const { content } = relay({ signal: stop.signal, failed: () => two });
      if (state === "opening") one.holdAnnouncement();
      const all = content.open(one).then(() =>
        read(content, () => {
          setImmediate(() => {
            if (state === "moving") content.ask(two);
            if (state === "broken") one.goOn({ breaksAt: 100 });
            setImmediate(() => stop.abort(reason));
          });
        }),
      );
      if (state === "opening") stop.abort(reason);
      await expect(all, state).rejects.toBe(reason);
      two.announce();
      await new Promise((resolve) => setImmediate(resolve));
      expect([one.isFreed, two.isFreed], state).toEqual([true, true]);
    }
  });

  it("frees everything when the consumer leaves, and never passes a part off as the whole", async () => {
    const one = new ScriptedSource("one");
    const left = relay();
    await left.content.open(one);
    for await (const _ of left.content) break;
    expect(one.isFreed).toBe(true);
    const two = new ScriptedSource("two");
    const closed = relay();
    await closed.content.open(two);
    await closed.content.next();
    await closed.content[Symbol.asyncDispose]();
    expect(await codeOf(closed.content.next())).toBe("ERR_CLOSED");
  });

  it("brings every byte once, whoever is asked when and breaks off where", async () => {
    const event = fc.record({
      at: fc.integer({ min: 0, max: LENGTH }),
      breaksAt: fc.option(fc.integer({ min: 1, max: LENGTH }), { nil: Infinity }),
      chunkLength: fc.integer({ min: 1, max: 400 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 6 }), async (events) => {
        const last = new ScriptedSource("last");
        const sources = events.map(
          ({ breaksAt, chunkLength }, index) =>
            new ScriptedSource(`${index}`, { breaksAt, chunkLength }),
        );
        const { content } = relay({ failed: (source) => (source === last ? undefined : last) });
        await content.open(new ScriptedSource("first", { chunkLength: 90 }));
        const due = new Set(events.keys());
        const all = await read(content, (position) => {
          for (const index of due) {
            if (events[index]!.at > position) continue;
            due.delete(index);
            content.ask(sources[index]!);
          }
        });
        expect(all.equals(CONTENT)).toBe(true);
        await new Promise((resolve) => setImmediate(resolve));
        expect([...sources, last].every(({ isFreed }) => isFreed)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});
