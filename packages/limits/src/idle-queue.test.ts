import { describe, expect, it } from "vitest";
import { IdleQueue } from "./idle-queue.ts";

describe("IdleQueue", () => {
  it("names the one that has been idle for longest, of all and of one address", () => {
    const idle = new IdleQueue<string>();
    idle.add("a", "10.0.0.1");
    idle.add("b", "10.0.0.2");
    idle.add("c", "10.0.0.1");
    expect([idle.oldest(), idle.oldest("10.0.0.2"), idle.oldest("10.0.0.3")]).toEqual([
      "a",
      "b",
      undefined,
    ]);
    idle.add("a", "10.0.0.1"); // was in use meanwhile
    expect([idle.oldest(), idle.oldest("10.0.0.1")]).toEqual(["b", "c"]);
    idle.delete("b");
    idle.delete("b");
    idle.delete("c");
    expect([idle.oldest(), idle.oldest("10.0.0.1"), idle.count]).toEqual(["a", "a", 1]);
    idle.delete("a");
    expect([idle.oldest(), idle.count]).toEqual([undefined, 0]);
  });
});
