import { describe, expect, it } from "vitest";
import { ContentInbox, RING_LENGTH_MIN } from "./content-inbox.ts";

const LENGTH = 1_000_000;

function openInbox(length: number, onRoom: () => void = () => {}): ContentInbox {
  const buffer = new Uint8Array(Math.min(length, RING_LENGTH_MIN));
  return new ContentInbox({ length, buffer, onRoom });
}

describe("ContentInbox", () => {
  it("is full before its ring is, and says when there is room again", async () => {
    let roomCount = 0;
    const inbox = openInbox(LENGTH, () => (roomCount += 1));
    while (!inbox.isFull) inbox.commit(Math.min(16_384, inbox.room().byteLength));
    expect(inbox.room().byteLength).toBeGreaterThanOrEqual(65_536); // what TLS may still hand over
    const chunks = inbox.chunks();
    const first = await chunks.next();
    expect(first.value?.byteLength).toBeGreaterThan(0);
    expect(roomCount).toBe(0); // the reader still looks at it
    inbox.commit(16_384);
    await chunks.next();
    expect(roomCount).toBe(1);
  });

  it("is never full when what is missing has its place", () => {
    const inbox = openInbox(1000);
    expect(inbox.isFull).toBe(false);
    inbox.commit(999);
    expect(inbox.isFull).toBe(false);
    inbox.commit(1);
    expect([inbox.isFull, inbox.isComplete, inbox.room().byteLength]).toEqual([false, true, 0]);
  });

  it("takes no more than the content", () => {
    const inbox = openInbox(10);
    expect(inbox.push(new Uint8Array(25))).toBe(10);
    expect(inbox.isComplete).toBe(true);
  });

  it("hands over what arrives in one turn as one chunk", async () => {
    const inbox = openInbox(LENGTH);
    const first = inbox.chunks().next();
    for (let count = 0; count < 4; count++) inbox.commit(16_384);
    expect((await first).value?.byteLength).toBe(65_536);
  });

  it("hands over what had come before it failed", async () => {
    const inbox = openInbox(LENGTH);
    inbox.push(Uint8Array.of(1, 2, 3));
    inbox.fail(new Error("the wire is cut"));
    inbox.fail(new Error("and again"));
    const chunks = inbox.chunks();
    expect((await chunks.next()).value).toEqual(Uint8Array.of(1, 2, 3));
    await expect(chunks.next()).rejects.toThrow("the wire is cut");
  });

  it("lets nobody wait for what has failed meanwhile", async () => {
    const inbox = openInbox(LENGTH);
    const first = inbox.chunks().next();
    inbox.fail(new Error("the wire is cut"));
    await expect(first).rejects.toThrow("the wire is cut");
  });
});
