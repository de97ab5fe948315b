import { describe, expect, it } from "vitest";

import { Interrupter } from "./interrupter.ts";

describe("Interrupter", () => {
  it("passes content through until it ends", async () => {
    const interrupter = new Interrupter();
    const seen: number[] = [];
    for await (const value of interrupter.iterate(counting().content)) seen.push(value);
    expect(seen).toEqual([0, 1, 2]);
  });

  it("closes the source when the loop is left", async () => {
    const source = counting();
    for await (const value of new Interrupter().iterate(source.content)) if (value === 1) break;
    expect(source.closed()).toBe(1);
  });

  it("ends a wait for a source that never answers", async () => {
    const interrupter = new Interrupter();
    const hanging = interrupter.iterate(silent());
    const next = hanging.next();
    const reason = new Error("deleted");
    interrupter.interrupt(reason);
    interrupter.interrupt(new Error("too late"));
    await expect(next).rejects.toBe(reason);
    await expect(interrupter.wait(Promise.resolve(1))).rejects.toBe(reason);
    expect(() => interrupter.throwIfInterrupted()).toThrow(reason);
  });

  it("closes the source, and reads none of it, once it was interrupted", async () => {
    const interrupter = new Interrupter();
    const reason = new Error("deleted");
    const source = counting();
    const running = interrupter.iterate(source.content);
    expect(await running.next()).toEqual({ done: false, value: 0 });
    interrupter.interrupt(reason);
    await expect(running.next()).rejects.toBe(reason);
    expect(await running.return?.()).toEqual({ done: true, value: undefined });
    await expect.poll(source.closed).toBe(1);
    await expect(interrupter.iterate(counting().content).next()).rejects.toBe(reason);
  });

  it("ends once, however often it is asked", async () => {
    const content = new Interrupter().iterate(counting().content);
    const all: number[] = [];
    for await (const value of content) all.push(value);
    expect(all).toEqual([0, 1, 2]);
    expect(await content.next()).toEqual({ done: true, value: undefined });
  });

  it("throws what the source throws, and does not close it again", async () => {
    const failure = new Error("reset by peer");
    let closed = false;
    const failing: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.reject(failure),
        return: () => {
          closed = true;
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    };
    await expect(new Interrupter().iterate(failing).next()).rejects.toBe(failure);
    expect(closed).toBe(false);
  });
});

function counting(): { readonly content: AsyncIterable<number>; readonly closed: () => number } {
  let closed = 0;
  async function* content(): AsyncGenerator<number> {
    try {
      for (let value = 0; value < 3; value++) yield await Promise.resolve(value);
    } finally {
      closed++;
    }
  }
  return { content: content(), closed: () => closed };
}

async function* silent(): AsyncGenerator<number> {
  yield await new Promise<number>(() => undefined);
}
