import { expect, it } from "vitest";
import { type KnownSession, SessionCache } from "./session-cache.ts";

const MINUTE_MS = 60_000;

function sessionOf(text: string, checkedAt: number): KnownSession {
  return { session: Buffer.from(text), chain: [], checkedAt };
}

it("SessionCache keeps a session for ten minutes from when its certificate was shown, however often it is resumed", () => {
  let now = 0;
  const cache = new SessionCache(() => now);
  cache.remember("parent", sessionOf("first", 0));
  now = 6 * MINUTE_MS;
  expect(cache.find("parent")?.session.toString()).toBe("first");
  // Got by resuming: the certificate was not shown again.
  cache.remember("parent", sessionOf("second", 0));
  now = 10 * MINUTE_MS - 1;
  expect(cache.find("parent")?.session.toString()).toBe("second");
  now = 10 * MINUTE_MS;
  expect(cache.find("parent")).toBeUndefined();
});

it("SessionCache keeps targets apart, and forgets one or all when told to", () => {
  const cache = new SessionCache(() => 0);
  for (const name of ["one", "two", "three"]) cache.remember(name, sessionOf(name, 0));
  cache.forget("two");
  expect(["one", "two", "three"].map((name) => cache.find(name)?.session.toString())).toEqual([
    "one",
    undefined,
    "three",
  ]);
  cache.clear();
  expect(cache.find("one")).toBeUndefined();
});

it("SessionCache forgets the oldest of more than ten thousand", () => {
  const cache = new SessionCache(() => 0);
  for (let count = 0; count <= 10_000; count++) cache.remember(`${count}`, sessionOf("x", 0));
  expect([cache.find("0"), cache.find("1") !== undefined]).toEqual([undefined, true]);
});
