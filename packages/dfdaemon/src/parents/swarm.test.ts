import type { PieceRecord, StoredTask } from "@damselfly/storage";
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import type { ParentEvent } from "./parent-channel.ts";
import { ParentHosts } from "./parent-host.ts";
import type { Parent } from "./parent.ts";
import { PieceQueue } from "./piece-queue.ts";
import { Swarm } from "./swarm.ts";

const PIECE_LENGTH = 4 << 20;
const PARENT = {
  peerId: "peer-a",
  hostId: "a",
  hostname: "a",
  ip: "192.0.2.1",
  port: 1,
  digests: new Map(),
};

const OTHER = { ...PARENT, peerId: "peer-b", hostId: "b", hostname: "b" };

/** A swarm whose one parent says what a test lets it say, whether or not anybody listens any more. */
function open({ hosts = new ParentHosts(), now = (): number => 1_000_000 } = {}) {
  const said: ((event: ParentEvent) => void)[] = [];
  const next = (): Promise<ParentEvent> => new Promise((resolve) => said.push(resolve));
  const queue = new PieceQueue<Parent>();
  const pieces = new Map<number, PieceRecord>();
  const deny = async (denied: readonly PieceRecord[]): Promise<void> => {
    for (const { number } of denied) pieces.delete(number);
  };
  const record = (number: number, parentId: string, digest: string): void => {
    const place = { number, ...bounds(number) };
    const piece = { ...place, digest, parentId, trafficType: "REMOTE_PEER" as const };
    pieces.set(number, { ...piece, costMs: 1, createdAtMs: 1 });
    swarm.recorded(pieces.get(number)!);
  };
  const bounds = (number: number) => ({ offset: number * PIECE_LENGTH, length: PIECE_LENGTH });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of a task as is looked at
  const task = {
    facts: {
      taskId: "t",
      pieceLength: PIECE_LENGTH,
      url: "http://origin.test/",
      contentVersion: "v",
    },
    pieceCount: 2,
    bounds,
    pieces,
    deny,
  } as unknown as StoredTask;
  const nothing = (): void => {};
  const swarm = new Swarm({
    task,
    queue,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing is fetched
    dataPlane: {} as never,
    channel: {
      async *syncPieces() {
        for (;;) yield await next();
      },
    },
    hostId: "self",
    hosts,
    concurrentPieceCount: 8,
    logger: SILENT_LOGGER,
    now,
    random: () => 0.5,
    events: {
      changed: nothing,
      progressed: nothing,
      fetched: nothing,
      pieceFailed: nothing,
      originFailed: nothing,
      hedged: nothing,
      doubled: nothing,
      broke: nothing,
    },
  });
  const say = async (event: ParentEvent): Promise<void> => {
    said.shift()!(event);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const offer = (number: number): Promise<void> =>
    say({ kind: "piece", number, ...bounds(number) });
  return { swarm, queue, say, offer, pieces, record };
}

describe("Swarm", () => {
  it("takes up what a parent offers", async () => {
    const { swarm, queue, offer } = open();
    for (const number of [0, 1]) queue.want(number);
    expect(swarm.add([PARENT])).toBe(1);
    await offer(0);
    expect([...queue.holders(0)]).toEqual(swarm.parents);
  });

  it("takes up nothing that a parent offers after it was dropped", async () => {
    const { swarm, queue, offer } = open();
    for (const number of [0, 1]) queue.want(number);
    swarm.add([PARENT]);
    await offer(0);
    swarm.dropIdle("in a test");
    expect(swarm.parents).toEqual([]);
    await offer(1);
    expect(queue.hasOffers).toBe(false);
    // What nobody offers, the origin is asked for.
    expect(queue.takeUnoffered()).toBe(0);
    expect(queue.takeUnoffered()).toBe(1);
  });

  it("takes up again a parent that only brought nothing, when it is named later, and later each time", async () => {
    let nowMs = 1_000_000;
    const { swarm, queue, offer } = open({ now: () => nowMs });
    queue.want(0);
    swarm.add([PARENT]);
    for (const restMs of [30_000, 60_000, 120_000]) {
      swarm.dropIdle("in a test");
      nowMs += restMs - 1;
      expect(swarm.add([PARENT])).toBe(0);
      expect(swarm.dropped).toEqual([PARENT]);
      nowMs += 1;
      expect(swarm.dropped).toEqual([]);
      expect(swarm.add([PARENT])).toBe(1);
    }
    // What it was asked for before nobody listens to.
    for (let asked = 0; asked < 4; asked += 1) await offer(0);
    expect([...queue.holders(0)]).toEqual(swarm.parents);
  });

  it("has nothing more to do with a parent that says what cannot be, but leaves it to other downloads", async () => {
    const hosts = new ParentHosts();
    const { swarm, queue, say } = open({ hosts });
    queue.want(0);
    swarm.add([PARENT]);
    await say({ kind: "piece", number: 0, offset: 0, length: PIECE_LENGTH - 1 });
    expect(swarm.parents).toEqual([]);
    expect(swarm.add([{ ...PARENT, peerId: "again" }])).toBe(0);
    expect(open({ hosts }).swarm.add([PARENT])).toBe(1);
  });

  it("denies what others gave, but not what was read at the origin, when it hears what pieces are", () => {
    const { swarm, pieces, record } = open();
    swarm.add([PARENT, OTHER]);
    record(0, "a", "crc32:1");
    record(1, "", "crc32:1");
    record(2, "b", "crc32:2");
    const digests = new Map([0, 1, 2, 3].map((number) => [number, { digest: "crc32:2" }]));
    swarm.add([{ ...PARENT, peerId: "peer-c", hostId: "c", digests }]);
    expect([...pieces.keys()]).toEqual([1, 2]);
    expect(swarm.parents.map(({ candidate }) => candidate.hostId)).toEqual(["b", "c"]);
    record(3, "b", "crc32:3");
    expect([...pieces.keys()]).toEqual([1, 2]);
  });

  it("believes no more what somebody says of pieces who has lied about one", () => {
    const { swarm, pieces, record } = open();
    swarm.add([PARENT, { ...OTHER, digests: new Map([[0, { digest: "crc32:2" }]]) }]);
    record(0, "a", "crc32:1");
    record(0, "b", "crc32:2");
    swarm.add([{ ...PARENT, digests: new Map([[0, { digest: "crc32:1" }]]) }]);
    expect(pieces.get(0)?.parentId).toBe("b");
    expect(swarm.parents.map(({ candidate }) => candidate.hostId)).toEqual(["b"]);
  });
});
