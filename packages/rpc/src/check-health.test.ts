import { once } from "node:events";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { checkHealth } from "./check-health.ts";
import { createSchedulerClient, type SchedulerClient } from "./clients.ts";
import { loadService } from "./load-service.ts";
import { onceLost } from "./once-lost.ts";
import { onceReady } from "./once-ready.ts";
import { serveRpc } from "./serve-rpc.ts";

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const ip = "127.0.0.1";

function connect(port: number): SchedulerClient {
  const client = createSchedulerClient({ ip, port });
  disposables.push(client);
  return client;
}

/** A server as others write them; `status` is what its health service says, undefined: it has none. */
async function serveForeign(status: number | undefined): Promise<number> {
  const server = new Server();
  const { definition } = loadService("grpc.health.v1.Health");
  if (status !== undefined) {
    server.addService(definition, {
      check: (_: unknown, answer: (error: null, response: object) => void) =>
        answer(null, { status }),
      watch: () => {},
    });
  }
  disposables.push({
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  });
  return await new Promise((resolve, reject) => {
    const credentials = ServerCredentials.createInsecure();
    server.bindAsync(`${ip}:0`, credentials, (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

describe("checkHealth", () => {
  it("is content with a server that serves, and with one that has no health service", async () => {
    await expect(checkHealth(connect(await serveForeign(1)))).resolves.toBeUndefined();
    await expect(checkHealth(connect(await serveForeign(undefined)))).resolves.toBeUndefined();
  });

  it("fails for one that says it does not serve", async () => {
    await expect(checkHealth(connect(await serveForeign(2)))).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "it says that it is NOT_SERVING",
    });
  });

  it("fails when nobody is there", async () => {
    const server = await serveRpc({ address: { ip, port: 0 }, services: [] });
    const { address } = server;
    await server.abort();
    if (!("port" in address)) throw new TypeError("expected a TCP address");
    const client = connect(address.port);
    await expect(checkHealth(client, { timeoutMs: 20_000 })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });
});

describe("onceLost", () => {
  it("tells that the server has gone", async () => {
    const server = await serveRpc({ address: { ip, port: 0 }, services: [] });
    if (!("port" in server.address)) throw new TypeError("expected a TCP address");
    const client = connect(server.address.port);
    await checkHealth(client);
    const events = new EventTarget();
    onceLost(client, () => events.dispatchEvent(new Event("lost")));
    const lost = once(events, "lost");
    await server.abort();
    await lost;
  });
});

describe("onceReady", () => {
  it("tells that a server has come to where there was none", async () => {
    const former = await serveRpc({ address: { ip, port: 0 }, services: [] });
    if (!("port" in former.address)) throw new TypeError("expected a TCP address");
    const { port } = former.address;
    await former.abort();
    const client = connect(port);
    await expect(checkHealth(client)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const events = new EventTarget();
    const ready = once(events, "ready");
    expect(onceReady(client, () => events.dispatchEvent(new Event("ready")))).toBe(true);
    await using _server = await serveRpc({ address: { ip, port }, services: [] });
    await ready;
    await checkHealth(client);
    expect(onceReady(client, () => expect.unreachable())).toBe(false);
  });
});
