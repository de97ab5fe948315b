import { StorageError } from "@damselfly/storage";
import { TransportError } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DaemonError } from "../../../errors.ts";
import { OriginError } from "../../../origins/origin-error.ts";
import { createMemoryChannels } from "../testing/memory-channel.ts";
import type { Channel } from "./channel.ts";
import { Link, type Handlers } from "./link.ts";

type Remote = {
  double(params: number): number;
  wait(params: null): string;
  fail(params: string): void;
  tell(params: string): void;
};
type Nothing = { nothing(params: null): void };

const lost = (): Error => new DaemonError("ERR_DATA_PLANE_LOST", "Cannot go on: it is gone");
let channels: [Channel, Channel];
let told: string[];
let steps: string[];

const FAILURES: Record<string, Error> = {
  storage: new StorageError("ERR_NO_SPACE", "Cannot write: no space", {
    cause: Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" }),
  }),
  transport: new TransportError("ERR_PARENT_STALLED", "Cannot read: nothing arrived"),
  origin: new OriginError("ERR_ORIGIN_STATUS", "Cannot read: 404", {
    answer: { statusCode: 404, reason: "Not Found", responseHeader: { server: "x" } },
  }),
  daemon: new DaemonError("ERR_LISTEN", "Cannot serve"),
  range: new RangeError("Cannot find piece 9"),
  unknown: Object.assign(new Error("Cannot say"), { name: "QuicError", code: "ERR_QUIC" }),
};

beforeEach(() => {
  channels = createMemoryChannels();
  told = [];
  steps = [];
});
afterEach(() => channels[0].close());

function open(): Link<Remote, Nothing> {
  const handlers: Handlers<Remote> = {
    double: async (number) => 2 * number,
    wait: async (_, signal) => {
      steps.push("waiting");
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      steps.push("stopping");
      await new Promise((resolve) => setImmediate(resolve));
      steps.push("stopped");
      throw signal.reason;
    },
    fail: (name) => {
      throw FAILURES[name] ?? new Error("no such failure");
    },
    tell: (text) => void told.push(text),
  };
  void new Link<Nothing, Remote>({ channel: channels[1], handlers, lost });
  return new Link<Remote, Nothing>({ channel: channels[0], handlers: { nothing: () => {} }, lost });
}

describe("Link", () => {
  it("answers each call with its own result", async () => {
    const link = open();
    const results = await Promise.all([1, 2, 3].map((number) => link.call("double", number)));
    expect(results).toEqual([2, 4, 6]);
    expect(link.pendingCount).toBe(0);
  });

  it("passes notes on, in order and before the calls that follow", async () => {
    const link = open();
    link.note("tell", "one");
    link.note("tell", "two");
    await link.call("double", 1);
    expect(told).toEqual(["one", "two"]);
  });

  it.each(Object.keys(FAILURES))("throws what the other side has thrown: %s", async (name) => {
    const link = open();
    const error = await link.call("fail", name).catch((thrown: unknown) => thrown);
    const { message, cause } = FAILURES[name]!;
    const { name: className, ...fields } = Object.getOwnPropertyDescriptors(FAILURES[name]!);
    expect(error).toMatchObject({ name: className?.value ?? FAILURES[name]!.name, message });
    for (const field of Object.keys(fields).filter((each) => each !== "stack" && each !== "cause"))
      expect(error).toHaveProperty(field, fields[field]?.value);
    if (cause instanceof Error)
      expect(error).toMatchObject({ cause: { message: cause.message, code: "ENOSPC" } });
    if (name !== "unknown") expect(error).toBeInstanceOf(FAILURES[name]!.constructor);
  });

  it("waits until the other side has stopped what is not wanted any more", async () => {
    const link = open();
    const controller = new AbortController();
    const reason = new Error("the child has left");
    const call = link.call("wait", null, { signal: controller.signal });
    await expect.poll(() => steps).toEqual(["waiting"]);
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(steps).toEqual(["waiting", "stopping", "stopped"]);
  });

  it("asks for nothing that is not wanted from the start", async () => {
    const link = open();
    const reason = new Error("too late");
    await expect(link.call("wait", null, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    await link.call("double", 1);
    expect(steps).toEqual([]);
  });

  it("fails what waits, and all that comes later, when the channel closes", async () => {
    const link = open();
    const call = link.call("wait", null);
    const failed = expect(call).rejects.toMatchObject({ code: "ERR_DATA_PLANE_LOST" });
    await expect.poll(() => steps).toEqual(["waiting"]);
    channels[1].close();
    await failed;
    await expect(link.call("double", 1)).rejects.toMatchObject({ code: "ERR_DATA_PLANE_LOST" });
    // Whoever worked for it is told.
    await expect.poll(() => steps).toEqual(["waiting", "stopping", "stopped"]);
  });

  it("says so when nothing has that name", async () => {
    const link = new Link<{ missing(params: null): void }, Nothing>({
      channel: channels[0],
      handlers: { nothing: () => {} },
      lost,
    });
    void new Link<Nothing, Nothing>({
      channel: channels[1],
      handlers: { nothing: () => {} },
      lost,
    });
    await expect(link.call("missing", null)).rejects.toThrow("nothing is called missing");
  });
});
