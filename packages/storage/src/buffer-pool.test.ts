import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { BufferPool } from "./buffer-pool.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("hands out again what was given back", () => {
  const pool = new BufferPool({ length: 64, idleCountMax: 2 });
  const buffer = pool.take();
  expect(buffer.byteLength).toBe(64);
  pool.giveBack(buffer);
  expect(pool.take()).toBe(buffer);
  expect(pool.take()).not.toBe(buffer);
});

it("keeps no more than it is told", () => {
  const pool = new BufferPool({ length: 64, idleCountMax: 2 });
  const buffers = Array.from({ length: 5 }, () => pool.take());
  for (const buffer of buffers) pool.giveBack(buffer);
  expect(pool.idleCount).toBe(2);
});

it("keeps them while they are used now and then", () => {
  const pool = new BufferPool({ length: 64, idleCountMax: 8 });
  const buffers = Array.from({ length: 5 }, () => pool.take());
  for (const buffer of buffers) pool.giveBack(buffer);
  for (let second = 0; second < 60; second += 4) {
    pool.giveBack(pool.take());
    vi.advanceTimersByTime(4_000);
  }
  expect(pool.idleCount).toBe(5);
});

it("gives up those that nobody has needed for ten seconds, and keeps new ones after that", () => {
  const pool = new BufferPool({ length: 64, idleCountMax: 8 });
  const [first, second] = [pool.take(), pool.take()];
  pool.giveBack(first);
  vi.advanceTimersByTime(10_000);
  expect(pool.idleCount).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  pool.giveBack(second);
  expect(pool.take()).toBe(second);
  pool.giveBack(second);
  vi.advanceTimersByTime(10_000);
  expect(pool.idleCount).toBe(0);
});
