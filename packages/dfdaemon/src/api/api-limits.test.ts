import { Allowance } from "@damselfly/limits";
import {
  createDfdaemonUploadClient,
  loadService,
  serveRpc,
  type ImplementedService,
  type StreamContext,
} from "@damselfly/rpc";
import type { StoredTask } from "@damselfly/storage";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { TrafficMeter } from "../host/traffic-meter.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { ApiLimits } from "./api-limits.ts";
import { LocalContent } from "./local-content.ts";
import { followPieces } from "../tasks/follow-pieces.ts";
import { createUploadService, type ServiceParts } from "./services.ts";
import { syncPieces } from "./sync-pieces.ts";

const TASK_ID = "f".repeat(64);

/** What is not asked for here. */
const absent = new Proxy({}, { get: (_, name) => void String(name) });

const task = {
  retain: () => () => {},
  pieceCount: 100,
  pieces: new Map(),
  onChange: () => () => {},
  facts: { contentVersion: "", url: "http://origin/file" },
};

const parts = {
  dataPlane: {
    offers: [],
    quinn: undefined,
    storage: { openTask: async () => task },
  },
  manager: {
    attend: () => () => {},
    // A download that never ends.
    endOf: () => new Promise<undefined>(() => {}),
    download: async function* (_: unknown, signal: AbortSignal) {
      yield { kind: "piece", piece: { digest: "crc32:0", trafficType: "LOCAL_PEER" } };
      if (!signal.aborted) await once(signal, "abort");
      signal.throwIfAborted();
    },
  },
  origin: { stat: () => new Promise(() => {}) },
  scheduler: undefined,
  host: { id: "h", hostname: "h", ip: "127.0.0.1", port: 1, idc: "", location: "" },
  tls: false,
  plainPeers: true,
  meter: new TrafficMeter(),
  metrics: createMetrics({ version: "0", platform: "test", storageDirectory: "/" }),
  localContent: new LocalContent(1),
  onRequest: () => {},
  onLeave: async () => {},
  logger: absent,
};

/** For something of which no more is looked at. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- saves every caller a cast
function standIn<T>(value: object): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a test that needs more would fail
  return value as T;
}

function serve(limits: Partial<ApiLimits>): ImplementedService {
  return createUploadService(standIn<ServiceParts>({ ...parts, limits }));
}

/** A call that goes on until it is left. */
class Call {
  readonly #controller = new AbortController();
  readonly #messages: AsyncIterator<unknown>;

  constructor(service: ImplementedService, method: string, ip: string, request: object = {}) {
    const context: StreamContext = {
      signal: this.#controller.signal,
      closing: new AbortController().signal,
      taken: async () => {},
      giveUp: () => {},
      peer: `${ip}:1`,
      peerIp: ip,
      userAgent: "",
      peerCertificate: undefined,
    };
    const handler: unknown = service.handlers.get(method);
    if (typeof handler !== "function") throw new TypeError(`no method ${method}`);
    const messages: AsyncIterable<unknown> = handler(request, context);
    this.#messages = messages[Symbol.asyncIterator]();
  }

  /** Its first message has come; or why none does. */
  async begin(): Promise<string> {
    return await this.#messages.next().then(
      () => "begun",
      (error: unknown) => String(Reflect.get(Object(error), "code")),
    );
  }

  async leave(): Promise<void> {
    this.#controller.abort(new Error("left"));
    await this.#messages.next().catch(() => {});
  }
}

const outcomesOf = async (calls: readonly Call[]): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const outcome of await Promise.all(calls.map((call) => call.begin())))
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
};

const REQUESTS = {
  syncPieces: () => ({
    hostId: "127.0.0.1-child",
    taskId: TASK_ID,
    interestedPieceNumbers: [0],
    extension: { version: 1, quinnKey: undefined },
  }),
  syncHost: () => ({}),
  downloadTask: () => {
    const method = loadService("dfdaemon.v2.DfdaemonUpload").methods.get("downloadTask")!;
    const request = { download: { url: "http://origin/file" } };
    return method.requestDeserialize(method.requestSerialize(request));
  },
};

describe("the upload port", () => {
  it.each([
    ["syncPieces", { childCountMax: 6, childrenPerAddressMax: 3 }],
    ["downloadTask", { orderCountMax: 6, ordersPerAddressMax: 3 }],
    ["syncHost", { watcherCountMax: 6, watchersPerAddressMax: 3 }],
  ] as const)(
    "takes as many calls of %s as may be, half of them from one address, and others when those leave",
    async (method, limits) => {
      const service = serve(limits);
      const open = (count: number, ip: string): Call[] =>
        Array.from({ length: count }, () => new Call(service, method, ip, REQUESTS[method]()));
      const first = open(3, "192.0.2.1");
      expect(await outcomesOf(first)).toEqual({ begun: 3 });
      expect(await outcomesOf(open(1, "192.0.2.1"))).toEqual({ RESOURCE_EXHAUSTED: 1 });
      expect(await outcomesOf(open(5_000, "192.0.2.1"))).toEqual({ RESOURCE_EXHAUSTED: 5_000 });
      const others = open(3, "192.0.2.2");
      expect(await outcomesOf(others)).toEqual({ begun: 3 });
      expect(await outcomesOf(open(1, "192.0.2.3"))).toEqual({ RESOURCE_EXHAUSTED: 1 });
      for (const call of first) await call.leave();
      expect(await outcomesOf(open(3, "192.0.2.3"))).toEqual({ begun: 3 });
      for (const call of others) await call.leave();
    },
  );
});

describe("syncPieces", () => {
  it("has as many listeners over the network as may be, and others when one hangs up", async () => {
    const service = serve({ childrenPerAddressMax: 3 });
    await using server = await serveRpc({
      address: { ip: "127.0.0.1", port: 0 },
      services: [service],
    });
    await using client = createDfdaemonUploadClient(server.address);
    const listen = async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const messages = client.syncPieces(REQUESTS.syncPieces(), { signal });
      const outcome = await messages[Symbol.asyncIterator]()
        .next()
        .then(
          () => "listening",
          (error: unknown) => String(Reflect.get(Object(error), "code")),
        );
      return { outcome, hangUp: () => controller.abort(new Error("hung up")) };
    };
    const listeners = [await listen(), await listen(), await listen()];
    expect(listeners.map(({ outcome }) => outcome)).toEqual(listeners.map(() => "listening"));
    for (let count = 0; count < 10; count += 1) {
      const others = await Promise.all(Array.from({ length: 100 }, listen));
      expect(new Set(others.map(({ outcome }) => outcome))).toEqual(
        new Set(["RESOURCE_EXHAUSTED"]),
      );
    }
    listeners[0]?.hangUp();
    await expect.poll(async () => (await listen()).outcome, { timeout: 10_000 }).toBe("listening");
    expect((await listen()).outcome).toBe("RESOURCE_EXHAUSTED");
  });

  it("lets children wait for as many pieces as may be, all together", async () => {
    const wantedPieces = new Allowance(150);
    const { dataPlane, manager } = parts;
    const listen = async (numbers: readonly number[]) => {
      const interestedPieceNumbers = [...numbers];
      const request = { ...REQUESTS.syncPieces(), interestedPieceNumbers };
      const controller = new AbortController();
      const { signal } = controller;
      const ours = { ip: "127.0.0.1", isTrusted: false, plainPeers: true };
      const messages = syncPieces(
        standIn({ ...ours, dataPlane, manager, wantedPieces, closing: signal }),
        standIn(request),
        signal,
      );
      await messages.next();
      return { messages, kept: interestedPieceNumbers };
    };
    const all = Array.from({ length: 100 }, (_, number) => number);
    const { messages, kept } = await listen(all);
    expect(kept).toEqual([]);
    // Named twice, or not there at all: they count once, or not.
    await listen([...all.slice(50), ...all.slice(50), 100, 1_000_000]);
    expect(wantedPieces.used).toBe(150);
    await expect(listen([0])).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await expect(listen(all)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    await messages.return();
    await listen(all);
    const flood = Array.from({ length: (1 << 20) + 1 }, () => 0);
    await expect(listen(flood)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("follows pieces to the last, however many are here already", async () => {
    const count = 200_000;
    const pieces = new Map(Array.from({ length: count }, (_, number) => [number, { number }]));
    const stored: StoredTask = standIn({ pieces, onChange: () => () => {} });
    const { signal } = new AbortController();
    let seen = 0;
    for await (const _ of followPieces(stored, pieces.keys(), undefined, signal)) seen += 1;
    expect(seen).toBe(count);
  });
});
