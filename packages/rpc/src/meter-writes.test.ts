import { Writable } from "node:stream";
import { expect, it } from "vitest";
import { meterWrites } from "./meter-writes.ts";

it("meterWrites counts what was written until it is taken, and changes nothing else", () => {
  const taken: (() => void)[] = [];
  const stream = new Writable({ write: (_chunk, _encoding, done) => void taken.push(done) });
  const lengths: number[] = [];
  meterWrites(stream, (length) => lengths.push(length));
  const done: string[] = [];
  stream.write(Buffer.alloc(10), () => done.push("first"));
  stream.write(Buffer.alloc(5), "utf8", () => done.push("second"));
  stream.write(Buffer.alloc(1));
  expect(lengths.splice(0)).toEqual([10, 15, 16]);
  while (taken.length > 0) taken.shift()?.();
  return new Promise<void>((resolve) => {
    stream.end(() => {
      expect(lengths).toEqual([6, 1, 0]);
      expect(done).toEqual(["first", "second"]);
      resolve();
    });
    setImmediate(() => {
      for (const each of taken.splice(0)) each();
    });
  });
});
