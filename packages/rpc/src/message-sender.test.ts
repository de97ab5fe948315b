import { describe, expect, it } from "vitest";
import { MessageSender } from "./message-sender.ts";

/** Messages are taken when the test says so, in their order. */
function create() {
  const callbacks: (() => void)[] = [];
  const sink = {
    write: (_: object, callback: () => void) => {
      callbacks.push(callback);
      return false;
    },
  };
  const controller = new AbortController();
  const sender = new MessageSender(sink, controller.signal);
  return { sender, controller, take: () => callbacks.shift()?.() };
}

/** Whether it has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false;
  void promise.then(() => (done = true));
  await new Promise(setImmediate);
  return done;
}

describe("MessageSender", () => {
  it("has one message ready while another is sent, and no third", async () => {
    const { sender, take } = create();
    await sender.send({});
    const second = sender.send({});
    expect(await isDone(second)).toBe(false);
    take();
    await second;
  });

  it("says when all of it has been taken, during the call and after", async () => {
    const { sender, take } = create();
    await sender.taken();
    await sender.send({});
    const second = sender.send({});
    const taken = sender.taken();
    take();
    await second;
    expect(await isDone(taken)).toBe(false);
    take();
    await taken;
    await sender.taken();
  });

  it("can be given up while a caller takes nothing", async () => {
    const { sender } = create();
    await sender.send({});
    const second = sender.send({});
    sender.giveUp(new Error("others need the room"));
    await expect(second).rejects.toThrow("others need the room");
    await expect(sender.send({})).rejects.toThrow("others need the room");
  });

  it("holds nothing for a caller that has left, though it never says that it took anything", async () => {
    const { sender, controller } = create();
    await sender.send({});
    const second = sender.send({});
    const taken = sender.taken();
    controller.abort(new Error("the caller left"));
    await expect(second).rejects.toThrow("the caller left");
    expect(await isDone(taken)).toBe(false);
    sender.leave();
    await taken;
    await sender.taken();
  });
});
