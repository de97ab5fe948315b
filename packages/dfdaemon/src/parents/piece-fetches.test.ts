import { StorageError, type PieceRecord, type StoredTask } from "@damselfly/storage";
import { TransportError, type TransportErrorCode } from "@damselfly/transport";
import { describe, expect, it } from "vitest";
import type { PieceFetch } from "../data-plane/data-plane.ts";
import type { Takeover } from "../data-plane/relay/hedged-piece.ts";
import type { Supplier } from "../data-plane/relay/supplier.ts";
import { DaemonError } from "../errors.ts";
import { SILENT_LOGGER } from "../logger.ts";
import { OriginError } from "../origins/origin-error.ts";
import { Parent } from "./parent.ts";
import { ParentHosts } from "./parent-host.ts";
import { PieceFetches, type FetchedPiece, type OriginOffer } from "./piece-fetches.ts";
import { PieceQueue } from "./piece-queue.ts";

const MIB = 2 ** 20;
const PIECE_LENGTH = 4 * MIB;
const ORIGIN: OriginOffer = {
  request: { url: "http://origin.test/file", header: {} },
  expected: { etag: '"1"', lastModified: "", contentLength: 100 * PIECE_LENGTH },
};

/** A piece that the data plane was told to fetch, in the hands of a test. */
class FakeFetch {
  readonly fetch: PieceFetch;
  /** Whom it was asked of besides, in order. */
  readonly offered: Supplier[] = [];
  readonly record: Promise<PieceRecord>;
  #resolve: (record: PieceRecord) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(fetch: PieceFetch) {
    this.fetch = fetch;
    this.record = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    fetch.signal.addEventListener("abort", () => this.#reject(fetch.signal.reason));
    this.begin();
  }

  begin(): void {
    this.fetch.hedging?.began((supplier) => this.offered.push(supplier));
  }

  /** The supplier of that number sends from here on. */
  takeOver(
    id: number,
    offset: number,
    { doubled = 0, latestId = this.offered.length }: Partial<Takeover> = {},
  ): void {
    this.fetch.hedging?.tookOver(id, { offset, doubled, latestId });
  }

  receive(length: number): void {
    this.fetch.onBytes?.(length);
  }

  /** What comes is there already. */
  receiveAgain(length: number): void {
    this.fetch.hedging?.doubled(length);
  }

  /** Nothing comes. */
  wait(ms: number): void {
    this.fetch.hedging?.waited(ms);
  }

  async fail(id: number, error: Error): Promise<Supplier | undefined> {
    const other = await this.fetch.hedging?.failed(id, error);
    if (other === undefined) this.#reject(error);
    else this.offered.push(other);
    return other;
  }

  end(): void {
    const { pieceNumber: number, parent } = this.fetch;
    this.#resolve({
      number,
      offset: number * PIECE_LENGTH,
      length: PIECE_LENGTH,
      digest: "crc32:1",
      trafficType: "REMOTE_PEER",
      parentId: parent.hostId,
      costMs: 1,
      createdAtMs: 1,
    });
  }

  reject(error: Error): void {
    this.#reject(error);
  }
}

function open({ pieceCount = 8, parentNames = ["a", "b"] } = {}) {
  const clock = { ms: 1_000_000 };
  const now = (): number => clock.ms;
  const random = (): number => 0.5;
  const queue = new PieceQueue<Parent>({ random: () => 0 });
  const hosts = new ParentHosts({ now, random });
  const parents = parentNames.map((name) => addParent(name));
  function addParent(name: string): Parent {
    const candidate = {
      peerId: `peer-${name}`,
      hostId: name,
      hostname: name,
      ip: "192.0.2.1",
      port: 1,
      digests: new Map(),
    };
    const parent = new Parent(candidate, { host: hosts.of(name), now, random });
    parent.address = { hostId: name, ip: "192.0.2.1", ports: { tcp: 1 } };
    return parent;
  }
  const fetching: FakeFetch[] = [];
  const events: string[] = [];
  const fetched: FetchedPiece[] = [];
  let doubled = 0;
  const bounds = (number: number) => ({ offset: number * PIECE_LENGTH, length: PIECE_LENGTH });
  const pieces = new Map<number, PieceRecord>();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of a task as is looked at
  const task = {
    facts: { taskId: "t", pieceLength: PIECE_LENGTH },
    pieceCount,
    bounds,
    pieces,
  } as unknown as StoredTask;
  const fetches = new PieceFetches({
    task,
    queue,
    dataPlane: {
      fetchPiece: async (fetch) => {
        const fake = new FakeFetch(fetch);
        fetching.push(fake);
        const record = await fake.record;
        pieces.set(record.number, record);
        return record;
      },
    },
    concurrentPieceCount: 8,
    parents: () => parents,
    digests: new Map(),
    logger: SILENT_LOGGER,
    now,
    events: {
      changed() {},
      progressed() {},
      fetched: (piece) => void fetched.push(piece),
      failed: (number, { candidate }) =>
        void events.push(`${number} failed at ${candidate.hostId}`),
      originFailed: (error) => void events.push(`origin failed: ${error.message}`),
      drop: (parent, _, { isBanned }) => {
        events.push(`${parent.candidate.hostId} ${isBanned ? "banned" : "dropped"}`);
        queue.withdraw(parent);
      },
      freed() {},
      hedged: (to, reason) => void events.push(`hedged to ${to}: ${reason}`),
      doubled: (length) => void (doubled += length),
      broke: (error) => void events.push(`broke: ${error.message}`),
    },
  });
  const [a, b] = parents;
  /** The first piece, from the first parent; all others have it, too. */
  const begin = (number = 0): FakeFetch => {
    queue.want(number);
    queue.offer(number, a!);
    fetches.pump();
    const fake = fetching.at(-1)!;
    for (const parent of parents) queue.offer(number, parent);
    return fake;
  };
  const pass = (ms: number): void => {
    clock.ms += ms;
  };
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    a: a!,
    b: b!,
    addParent,
    parents,
    queue,
    fetches,
    fetching,
    fetched,
    events,
    begin,
    pass,
    settled,
    hosts,
    doubled: () => doubled,
  };
}

const broken = (code: TransportErrorCode): TransportError => new TransportError(code, code);
const wrong = (): StorageError => new StorageError("ERR_DIGEST_MISMATCH", "wrong bytes");

/** A piece that `a` has not announced for so long that `b` was asked, too. */
function openHedged() {
  const { fetches, begin, pass, ...rest } = open();
  const fetching = begin();
  pass(3_000);
  fetching.wait(3_000);
  fetches.watch(() => undefined);
  const [run] = fetches.runs;
  return { ...rest, fetching, run: run! };
}

describe("PieceFetches", () => {
  it("has a silent piece go on from another parent that offers it, and counts each one's bytes as his", async () => {
    const { a, b, fetches, begin, pass, settled, events, fetched, doubled } = open();
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    pass(3_000);
    fetching.wait(3_000);
    fetches.watch(() => undefined);
    expect(fetching.offered).toEqual([{ id: 1, kind: "parent", address: b.address }]);
    expect([a.inFlight, b.inFlight]).toEqual([1, 1]);
    fetches.watch(() => undefined); // once is enough
    fetching.takeOver(1, MIB, { doubled: 17 });
    expect([a.inFlight, b.inFlight]).toEqual([0, 1]);
    fetching.receive(3 * MIB);
    fetching.end();
    await settled();
    expect(events).toEqual(["hedged to parent: silent"]);
    expect(fetched[0]?.parent).toBe(b);
    expect([...fetched[0]!.lengths]).toEqual([
      [a, MIB],
      [b, 3 * MIB],
    ]);
    expect(doubled()).toBe(17);
    expect([a.inFlight, b.inFlight, fetches.count]).toEqual([0, 0, 0]);
  });

  it("does not take for silent whoever begins a piece anew", async () => {
    const { a, fetches, begin, pass, settled, events, hosts } = open();
    const fetching = begin();
    fetching.takeOver(0, 2 * MIB);
    for (let count = 0; count < 3; count += 1) {
      pass(1_000);
      fetching.wait(2_000);
      fetching.receiveAgain(MIB / 2);
      fetching.wait(500);
      fetches.watch(() => undefined);
    }
    expect(hosts.of("a").isSuspect).toBe(false);
    expect(events).toEqual([]);
    fetching.receive(PIECE_LENGTH);
    fetching.end();
    await settled();
    expect(a.inFlight).toBe(0);
  });

  it("asks nothing more of whoever has fallen silent, for a while, and nobody else does either", async () => {
    const { a, fetches, begin, pass, queue, fetching, hosts } = open();
    const first = begin();
    pass(3_000);
    first.wait(3_000);
    fetches.watch(() => undefined);
    expect(hosts.of("a").isSuspect).toBe(true);
    queue.want(1);
    queue.offer(1, a);
    fetches.pump();
    expect(fetching).toHaveLength(1);
    // It is tried with one piece, then.
    first.takeOver(1, 0);
    pass(2_000);
    queue.want(2);
    queue.offer(2, a);
    fetches.pump();
    expect(fetching).toHaveLength(2);
  });

  it("gives up a parent that falls silent again and again, and lets finish what comes", async () => {
    const { a, fetches, begin, pass, settled, events } = open();
    const running = begin(7);
    running.takeOver(0, 0);
    for (let number = 0; number < 3; number += 1) {
      // Until it may be asked again.
      pass(60_000);
      const fetching = begin(number);
      pass(3_000);
      running.receive(1_000);
      fetching.wait(3_000);
      fetches.watch(() => undefined);
      fetching.takeOver(1, 0);
      fetching.receive(PIECE_LENGTH);
      fetching.end();
      await settled();
    }
    expect(events.filter((event) => !event.startsWith("hedged"))).toEqual(["a dropped"]);
    expect(a.inFlight).toBe(1);
    expect(running.fetch.signal.aborted).toBe(false);
  });

  it("asks the origin where no parent can be, if it may be asked, and no piece twice", () => {
    const { fetches, begin, pass, events } = open({ parentNames: ["a"] });
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    pass(6_000);
    fetching.wait(6_000);
    fetches.watch(() => undefined);
    expect(fetching.offered).toEqual([]);
    pass(200);
    fetches.watch(() => ORIGIN);
    expect(fetching.offered).toEqual([{ id: 1, kind: "origin", ...ORIGIN }]);
    expect(fetches.originCount).toBe(1);
    pass(60_000);
    fetches.watch(() => ORIGIN);
    expect(fetching.offered).toHaveLength(1);
    expect(events).toEqual(["hedged to origin: silent"]);
  });

  it("asks somebody else for a piece that breaks off, and blames who broke it off", async () => {
    const { a, b, fetches, begin, settled, events, fetched, queue } = open();
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    expect(await fetching.fail(0, broken("ERR_PIECE_TRUNCATED"))).toMatchObject({
      id: 1,
      address: b.address,
    });
    expect(events).toEqual(["0 failed at a", "hedged to parent: broken"]);
    expect([...queue.holders(0)]).toEqual([b]);
    fetching.takeOver(1, MIB);
    fetching.receive(3 * MIB);
    fetching.end();
    await settled();
    expect(fetched[0]?.parent).toBe(b);
    expect(a.strikes).toBe(1);
    expect(fetches.count).toBe(0);
  });

  it("takes a piece up again that failed before there was a byte of it", async () => {
    const { a, b, fetches, begin, settled, events, fetching, queue } = open();
    const first = begin();
    expect(await first.fail(0, broken("ERR_PIECE_NOT_FOUND"))).toBeUndefined();
    await settled();
    expect(events).toEqual(["0 failed at a"]);
    expect([...queue.holders(0)]).toEqual([b]);
    fetches.pump();
    expect(fetching.at(-1)?.fetch.parent).toBe(b.address);
    expect(a.strikes).toBe(0);
  });

  it("leaves a busy parent alone for a while, without blame", async () => {
    const { a, fetches, begin, settled, events, fetching, pass } = open({ parentNames: ["a"] });
    await begin().fail(0, broken("ERR_PARENT_BUSY"));
    await settled();
    expect(events).toEqual([]);
    fetches.pump();
    expect(fetching).toHaveLength(1);
    pass(200);
    fetches.pump();
    expect(fetching).toHaveLength(2);
    expect(a.strikes).toBe(0);
  });

  it("gives a slow parent one piece at a time, none that everybody would wait for, and what nobody else has", () => {
    const { a, b, fetches, fetching, queue } = open();
    a.measured({ length: 100_000, durationMs: 1_000, concurrency: 1, isWhole: true });
    b.measured({ length: 10_000_000, durationMs: 1_000, concurrency: 1, isWhole: true });
    const from = (): string[] => fetching.map(({ fetch }) => fetch.parent.hostId);
    for (const number of [0, 1]) {
      queue.want(number);
      for (const parent of [a, b]) queue.offer(number, parent);
    }
    fetches.pump();
    expect(from()).toEqual(["b", "b"]);
    queue.want(2);
    queue.offer(2, a);
    fetches.pump();
    expect(from()).toEqual(["b", "b", "a"]);
    // With so much left that it is not in the way.
    for (let number = 3; number < 400; number += 1) {
      queue.want(number);
      for (const parent of [a, b]) queue.offer(number, parent);
    }
    fetches.pump();
    expect(from().filter((name) => name === "a")).toHaveLength(1);
  });

  it("blames a single one for wrong bytes, and forgets what else he brings", async () => {
    const { a, fetches, begin, settled, events, queue } = open();
    const first = begin(0);
    const second = begin(1);
    for (const fetching of [first, second]) fetching.takeOver(0, 0);
    first.receive(PIECE_LENGTH);
    first.reject(wrong());
    await settled();
    expect(events).toEqual(["0 failed at a", "a banned"]);
    fetches.distrust(a);
    await settled();
    expect(second.fetch.signal.aborted).toBe(true);
    expect(queue.missingCount).toBe(2);
    expect(events).toHaveLength(2);
  });

  it("leaves a parent that contradicts who read the origin to other downloads, and not one that nobody trusts", async () => {
    const { begin, settled, events } = open();
    const [first, second] = [begin(0), begin(1)];
    await first.fail(0, broken("ERR_PROTOCOL"));
    await second.fail(0, broken("ERR_PARENT_UNTRUSTED"));
    await settled();
    expect(events).toEqual(["0 failed at a", "a dropped", "1 failed at a", "a banned"]);
  });

  it("blames nobody for a piece that came wrong from two, fetches it from one alone, and then it is clear who", async () => {
    const { a, b, fetches, begin, pass, settled, events, fetching, queue } = open();
    const first = begin();
    first.takeOver(0, 0);
    first.receive(MIB);
    pass(3_000);
    first.wait(3_000);
    fetches.watch(() => undefined);
    first.takeOver(1, MIB);
    first.receive(3 * MIB);
    first.reject(wrong());
    await settled();
    expect(events).toEqual(["hedged to parent: silent"]);
    expect(queue.missingCount).toBe(1);
    expect([a.isMixable, b.isMixable]).toEqual([false, false]);

    pass(10_000);
    fetches.pump();
    const second = fetching.at(-1)!;
    second.takeOver(0, 0);
    second.receive(MIB);
    // Nobody goes on with what it has; if it does not come, it begins anew elsewhere.
    await second.fail(0, broken("ERR_PIECE_TRUNCATED"));
    await settled();
    expect(second.offered).toEqual([]);
    pass(10_000);
    fetches.pump();
    const third = fetching.at(-1)!;
    expect(third.fetch.parent).not.toBe(second.fetch.parent);
    third.takeOver(0, 0);
    third.receive(PIECE_LENGTH);
    third.reject(wrong());
    await settled();
    const liar = third.fetch.parent.hostId;
    expect(events.slice(-2)).toEqual([`0 failed at ${liar}`, `${liar} banned`]);
  });

  it("begins a piece anew elsewhere that must not be mixed and falls silent", async () => {
    const { a, fetches, begin, pass, settled, events, queue } = open();
    a.isMixable = false;
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    pass(3_000);
    fetching.wait(3_000);
    fetches.watch(() => undefined);
    await settled();
    expect(fetching.offered).toEqual([]);
    expect(fetching.fetch.signal.aborted).toBe(true);
    expect(events).toEqual(["0 failed at a"]);
    expect(queue.missingCount).toBe(1);
  });

  it("does not go on with somebody who says that the piece is another one, and blames nobody", async () => {
    const { b, fetches, begin, pass, events } = open();
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    pass(3_000);
    fetching.wait(3_000);
    fetches.watch(() => undefined);
    const differ = new DaemonError("ERR_SUPPLIERS_DIFFER", "another digest");
    void fetching.fetch.hedging?.failed(1, differ);
    expect(events).toEqual(["hedged to parent: silent"]);
    expect([b.strikes, b.inFlight]).toEqual([0, 0]);
  });

  it("tells of an origin that could not bring the rest", () => {
    const { fetches, begin, pass, events } = open({ parentNames: ["a"] });
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    pass(6_000);
    fetching.wait(6_000);
    fetches.watch(() => ORIGIN);
    void fetching.fetch.hedging?.failed(1, new OriginError("ERR_ORIGIN_CHANGED", "changed"));
    expect(events.at(-1)).toBe("origin failed: changed");
  });

  it("gives up a parent that does not announce for half a minute what it offers", async () => {
    const { fetches, begin, pass, settled, events, queue } = open({ parentNames: ["a"] });
    const fetching = begin();
    for (let second = 0; second < 30; second += 1) {
      expect(fetching.fetch.signal.aborted).toBe(false);
      pass(1_000);
      fetching.wait(1_000);
      fetches.watch(() => undefined);
    }
    await settled();
    expect(fetching.fetch.signal.aborted).toBe(true);
    expect(events).toEqual(["0 failed at a"]);
    expect([...queue.holders(0)]).toEqual([]);
  });

  it("stays within its number of hedges", () => {
    const { a, fetches, begin, pass, events } = open({ pieceCount: 8 });
    a.host.failed = () => {};
    for (let number = 0; number < 40; number += 1) {
      pass(60_000);
      const fetching = begin(number);
      pass(3_000);
      fetching.wait(3_000);
      fetches.watch(() => undefined);
      fetching.takeOver(1, 0);
      fetching.receive(PIECE_LENGTH);
      fetching.end();
    }
    // Sixteen, and one for every four pieces.
    expect(events.filter((event) => event.startsWith("hedged")).length).toBeLessThanOrEqual(18);
  });

  it("holds nothing against anybody while no process fetches, and counts from the start again then", () => {
    const { a, fetches, begin, pass, events } = open();
    const fetching = begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    fetching.fetch.hedging?.lost(0);
    pass(10_000);
    fetches.watch(() => ORIGIN);
    expect(events).toEqual([]);
    fetching.begin();
    const [run] = fetches.runs;
    expect(run?.position).toBe(0);
    fetching.takeOver(0, 0);
    fetching.receive(2 * MIB);
    expect([...run!.lengths]).toEqual([[a, 2 * MIB]]);
  });

  it("counts on those who were asked when another one took over as long as it is not said that they are not", () => {
    const { a, b, fetching, run } = openHedged();
    expect(run.asked).toEqual([a, b]);
    // The first has announced it before the process has heard of the second.
    fetching.takeOver(0, 0, { latestId: 0 });
    expect([run.source, run.asked]).toEqual([a, [a, b]]);
    fetching.receive(MIB);
    fetching.takeOver(1, MIB);
    fetching.receive(MIB);
    expect([run.source, run.asked]).toEqual([b, [b]]);
    expect([...run.lengths]).toEqual([
      [a, MIB],
      [b, MIB],
    ]);
    expect([a.inFlight, b.inFlight]).toEqual([0, 1]);
  });

  it("lets go of one who was named too late", () => {
    const { a, b, fetching, run } = openHedged();
    fetching.takeOver(0, 0, { latestId: 0 });
    fetching.fetch.hedging?.passedOver(1);
    expect(run.asked).toEqual([a]);
    expect([a.inFlight, b.inFlight]).toEqual([1, 0]);
    // Of whom it comes is no word of that kind.
    fetching.fetch.hedging?.passedOver(0);
    expect(run.source).toBe(a);
  });

  it("has it asked of one alone when its process has ended, though that one has failed before", async () => {
    const { a, b, fetching, run } = openHedged();
    fetching.fetch.hedging?.failed(0, new TransportError("ERR_PARENT_FAILED", "broken"));
    expect(run.asked).toEqual([b]);
    fetching.fetch.hedging?.lost(0);
    expect(run.asked).toEqual([a]);
    fetching.begin();
    fetching.takeOver(0, 0);
    fetching.receive(MIB);
    expect([...run.lengths]).toEqual([[a, MIB]]);
    expect([a.inFlight, b.inFlight]).toEqual([1, 0]);
  });

  it("takes a failure of the disk for nobody's fault", async () => {
    const { begin, settled, events } = open();
    begin().reject(new StorageError("ERR_NO_SPACE", "full"));
    await settled();
    expect(events).toEqual(["broke: full"]);
  });

  it("ends all that is in flight, and says nothing of it", async () => {
    const { fetches, begin, events } = open();
    const [one, two] = [begin(0), begin(1)];
    await fetches.close();
    expect([one, two].every(({ fetch }) => fetch.signal.aborted)).toBe(true);
    expect(events).toEqual([]);
    expect(fetches.count).toBe(0);
  });
});
