import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import type { Host } from "@damselfly/rpc";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DaemonError } from "../errors.ts";
import { SILENT_LOGGER } from "../logger.ts";
import {
  serveFakeScheduler,
  type FakeScheduler,
  type FakeSchedulerOptions,
} from "../testing/fake-scheduler.ts";
import { HashRing } from "./hash-ring.ts";
import {
  openSchedulerConnection,
  type SchedulerClientOptions,
  type SchedulerConnection,
} from "./scheduler-client.ts";
import type { PeerRegistration } from "./scheduler-link.ts";
import type { KnownScheduler } from "./scheduler-source.ts";

const HOST_ID = "127.0.0.1-node";
const WAIT = { timeout: 20_000, interval: 10 };

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

async function serve(options?: FakeSchedulerOptions): Promise<FakeScheduler> {
  const scheduler = await serveFakeScheduler(options);
  disposables.push(scheduler);
  return scheduler;
}

function known(
  { ip, port }: { readonly ip: string; readonly port: number },
  facts: Partial<KnownScheduler> = {},
): KnownScheduler {
  return { name: `${ip}:${port}`, ip, port, id: 0, clusterId: 0, ...facts };
}

/** A connection to the schedulers that `listed` holds at each look. */
function connect(
  listed: () => readonly KnownScheduler[],
  options: Partial<SchedulerClientOptions> = {},
): SchedulerConnection {
  const connection = openSchedulerConnection({
    source: {
      name: "test",
      list: async () => ({ schedulers: listed() }),
      async [Symbol.asyncDispose]() {},
    },
    refreshIntervalMs: 60_000,
    hostId: HOST_ID,
    newPeerId: () => `${HOST_ID}-${randomUUID()}`,
    describeHost: async () => ({ id: HOST_ID, hostname: "node", ip: "127.0.0.1", port: 4000 }),
    announceIntervalMs: 60_000,
    logger: SILENT_LOGGER,
    ...options,
  });
  disposables.push(connection);
  return connection;
}

function registrationOf(taskId: string): PeerRegistration {
  return {
    taskId,
    peerId: `${HOST_ID}-peer`,
    url: "http://origin.test/file",
    tag: "",
    application: "",
    priority: "LEVEL6",
    filteredQueryParams: [],
    contentVersion: "1",
    contentLength: 1,
    pieceLength: 4 * 2 ** 20,
    pieceCount: 1,
    concurrentPieceCount: 8,
    needBackToSource: false,
    disableBackToSource: false,
    requestHeader: {},
  };
}

async function register(connection: SchedulerConnection, taskId: string): Promise<string> {
  const { signal } = new AbortController();
  await using session = await connection.register(registrationOf(taskId), { signal });
  return session.schedulerName;
}

/** Accepts connections and never says anything. */
async function serveSilence(): Promise<{ readonly ip: string; readonly port: number }> {
  const sockets = new Set<{ destroy(): void }>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  disposables.push({
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("expected a TCP port");
  return { ip: "127.0.0.1", port: address.port };
}

describe("a connection to schedulers", () => {
  it("takes each task to the scheduler that Dragonfly's hash ring names", async () => {
    const schedulers = [await serve(), await serve(), await serve()];
    const connection = connect(() => schedulers.map((scheduler) => known(scheduler)));
    const ring = new HashRing(schedulers.map(({ address }) => [address, address]));
    for (let task = 0; task < 20; task += 1) {
      const [chosen] = ring.order(`task-${task}`);
      expect(await register(connection, `task-${task}`)).toBe(chosen);
    }
  });

  it("puts a scheduler on the ring by the hostname that a manager gave", async () => {
    const schedulers = [await serve(), await serve()];
    const names = ["scheduler-0", "scheduler-1"];
    const connection = connect(() =>
      schedulers.map((scheduler, index) => known(scheduler, { name: names[index]! })),
    );
    const ring = new HashRing(names.map((name, index) => [name, schedulers[index]!.address]));
    for (let task = 0; task < 10; task += 1) {
      const [chosen] = ring.order(`task-${task}`);
      expect(await register(connection, `task-${task}`)).toBe(chosen);
    }
  });

  it("announces the host to every scheduler, with the interval, and takes it back at the end", async () => {
    const [one, two] = [await serve(), await serve()];
    const connection = connect(() => [known(one), known(two)]);
    connection.start();
    await vi.waitFor(() => {
      expect(one.announcements.length).toBe(1);
      expect(two.announcements.length).toBe(1);
    }, WAIT);
    expect(one.announcements[0]).toMatchObject({
      host: { id: HOST_ID },
      interval: { seconds: 60, nanos: 0 },
    });
    await connection.leave();
    expect([one.departures, two.departures]).toEqual([[HOST_ID], [HOST_ID]]);
  });

  it("offers a host that only its own machine reaches to nobody else", async () => {
    const own = await serve();
    const address = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
    // Where there is no network there is nobody else.
    const elsewhere = await serve(address === undefined ? {} : { ip: address });
    const describeHost = async (): Promise<Host> => ({ ip: "127.0.0.1", type: 1, port: 4000 });
    connect(() => [known(own), known(elsewhere)], { describeHost }).start();
    await vi.waitFor(() => {
      expect(own.announcements[0]?.host).toMatchObject({ type: 1, disableShared: false });
      expect(elsewhere.announcements[0]?.host).toMatchObject(
        address === undefined ? { type: 1 } : { type: 0, disableShared: true },
      );
    }, WAIT);
  });

  it("announces the host again and again", async () => {
    const scheduler = await serve();
    connect(() => [known(scheduler)], { announceIntervalMs: 20 }).start();
    await vi.waitFor(() => expect(scheduler.announcements.length).toBeGreaterThan(3), WAIT);
  });

  it("takes a task whose scheduler is down to the next one on the ring, and back when it is up", async () => {
    const schedulers = [await serve(), await serve()];
    const connection = connect(() => schedulers.map((scheduler) => known(scheduler)), {
      refreshIntervalMs: 50,
    });
    const ring = new HashRing(schedulers.map((scheduler) => [scheduler.address, scheduler]));
    const [first, second] = ring.order("task");
    if (first === undefined || second === undefined) throw new TypeError("expected two");
    expect(await register(connection, "task")).toBe(first.address);
    await first.abort();
    await vi.waitFor(
      async () => expect(await register(connection, "task")).toBe(second.address),
      WAIT,
    );
    const revived = await serve({ port: first.port });
    await vi.waitFor(
      async () => expect(await register(connection, "task")).toBe(revived.address),
      WAIT,
    );
  });

  it("announces the host anew to a scheduler that was restarted", async () => {
    const scheduler = await serve();
    connect(() => [known(scheduler)]).start();
    await vi.waitFor(() => expect(scheduler.announcements.length).toBe(1), WAIT);
    await scheduler.abort();
    const revived = await serve({ port: scheduler.port });
    await vi.waitFor(() => expect(revived.announcements.length).toBe(1), WAIT);
  });

  it("goes on when a scheduler sends its connections away", async () => {
    const scheduler = await serve({
      channelOptions: { "grpc.max_connection_age_ms": 200, "grpc.max_connection_age_grace_ms": 50 },
    });
    const connection = connect(() => [known(scheduler)]);
    expect(await register(connection, "task")).toBe(scheduler.address);
    await vi.waitFor(() => expect(scheduler.announcements.length).toBeGreaterThan(2), WAIT);
    expect(await register(connection, "task")).toBe(scheduler.address);
  });

  it("does not wait for a scheduler that never answers once others do", async () => {
    const [dead, alive] = [await serveSilence(), await serve()];
    const connection = connect(() => [known(dead), known(alive)]);
    for (let task = 0; task < 5; task += 1)
      expect(await register(connection, `task-${task}`)).toBe(alive.address);
  });

  it("says why when no scheduler is of use", async () => {
    const gone = await serve();
    await gone.abort();
    const connection = connect(() => [known(gone)]);
    await expect(register(connection, "task")).rejects.toThrow(
      `Cannot register with a scheduler: ${gone.address} (UNAVAILABLE: `,
    );
    await expect(
      register(
        connect(() => []),
        "task",
      ),
    ).rejects.toThrow("test names none");
  });

  it("uses a scheduler that appears, and leaves one that is not listed any more", async () => {
    const [old, young] = [await serve(), await serve()];
    let listed = [known(old)];
    const connection = connect(() => listed, { refreshIntervalMs: 20 });
    expect(await register(connection, "task")).toBe(old.address);
    listed = [known(young)];
    await vi.waitFor(() => {
      expect(young.announcements.length).toBe(1);
      expect(old.departures).toEqual([HOST_ID]);
    }, WAIT);
    expect(await register(connection, "task")).toBe(young.address);
  });

  it("keeps the schedulers it knows while nobody can say which there are", async () => {
    const scheduler = await serve();
    let failures = 0;
    const connection = connect(
      () => {
        if (scheduler.announcements.length === 0) return [known(scheduler)];
        failures += 1;
        throw new DaemonError("ERR_SCHEDULER", "Cannot find schedulers: the manager is down");
      },
      { refreshIntervalMs: 20 },
    );
    expect(await register(connection, "task")).toBe(scheduler.address);
    await vi.waitFor(() => expect(failures).toBeGreaterThan(1), WAIT);
    expect(await register(connection, "task")).toBe(scheduler.address);
  });

  it("stays with the cluster of the first healthy scheduler", async () => {
    const [gone, one, two, other] = [await serve(), await serve(), await serve(), await serve()];
    await gone.abort();
    const connection = connect(() => [
      known(gone, { clusterId: 9 }),
      known(one, { clusterId: 1 }),
      known(other, { clusterId: 2 }),
      known(two, { clusterId: 1 }),
    ]);
    const used = new Set<string>();
    for (let task = 0; task < 20; task += 1) used.add(await register(connection, `task-${task}`));
    expect(used).toEqual(new Set([one.address, two.address]));
    expect(other.announcements).toEqual([]);
  });

  it("uses the scheduler with the higher id of two that claim one name", async () => {
    const [one, two] = [await serve(), await serve()];
    const connection = connect(() => [
      known(one, { name: "same", id: 7 }),
      known(two, { name: "same", id: 3 }),
    ]);
    expect(await register(connection, "task")).toBe(one.address);
  });

  it("tries the next scheduler when one does not accept this host", async () => {
    const refusing = await serve({
      onAnnounce: () => {
        throw new Error("no");
      },
    });
    const accepting = await serve();
    const connection = connect(() => [known(refusing), known(accepting)]);
    for (let task = 0; task < 5; task += 1)
      expect(await register(connection, `task-${task}`)).toBe(accepting.address);
  });
});
