import { afterEach, describe, expect, it } from "vitest";
import { createHealthClient, createSchedulerClient } from "./clients.ts";
import { implementService } from "./implement-service.ts";
import { serveRpc } from "./serve-rpc.ts";

const disposables: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

describe("a method without a handler", () => {
  it("is answered UNIMPLEMENTED, with the reason where there is one", async () => {
    const scheduler = implementService("scheduler.v2.Scheduler", {}, { unserved: "it is a test" });
    const server = await serveRpc({ address: { ip: "127.0.0.1", port: 0 }, services: [scheduler] });
    const client = createSchedulerClient(server.address);
    disposables.push(server, client);
    await expect(client.listHosts({})).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      reason: "Cannot answer scheduler.v2.Scheduler/ListHosts: it is a test",
    });
    await using call = client.announcePeer();
    await expect(call[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
    });
  });
});

describe("requestLimits", () => {
  it("refuse what is too much for a service, and leave health alone", async () => {
    const scheduler = implementService("scheduler.v2.Scheduler", { listHosts: async () => ({}) });
    const server = await serveRpc({
      address: { ip: "127.0.0.1", port: 0 },
      services: [scheduler],
      // However fast the calls come, at least one of so many is neither among the first two nor waits for a second.
      requestLimits: { ratePerSecond: 2, waitingCountMax: 0 },
    });
    const client = createSchedulerClient(server.address);
    const health = createHealthClient(server.address);
    disposables.push(server, client, health);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, () => client.listHosts({})),
    );
    expect(outcomes.some(({ status }) => status === "fulfilled")).toBe(true);
    const refused = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    for (let count = 0; count < 10; count += 1)
      expect(await health.check({ service: "" })).toMatchObject({ status: "SERVING" });
  });
});
