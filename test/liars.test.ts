import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { status } from "@damselfly/rpc";
import type { PieceInfo } from "@damselfly/transport";
import {
  sha256,
  sha256OfFile,
  useCluster,
  type LogLine,
  type RunningDaemon,
  type RunningScheduler,
} from "./support/daemon.ts";
import { freeze, thaw } from "./support/frozen.ts";
import { digestOf, openLiar, tellTruth, type Lie, type LiarOptions } from "./support/liar.ts";
import { untilAnnounced } from "./support/look.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
/** Three pieces, the last one short. */
const LENGTH = 2 * PIECE_LENGTH + 100_003;
const CONTENT = seededContent(LENGTH);
const SHA256 = sha256(CONTENT);

/** One bit of every piece is another. */
const wrongBytes: Lie = (piece, content) => tellTruth(piece, flipped(content));

const wrongBytesWithTheirDigest: Lie = (piece, content) => {
  const wrong = flipped(content);
  return tellTruth({ ...piece, digest: digestOf(wrong) }, wrong);
};

const noDigest: Lie = (piece, content) => tellTruth({ ...piece, digest: "" }, content);

const anotherPlace: Lie = (piece, content) =>
  tellTruth({ ...piece, offset: piece.offset + 1 }, content);

const anotherLength: Lie = (piece, content) =>
  tellTruth({ ...piece, length: piece.length - 1 }, content.subarray(1));

const tooFew: Lie = (piece, content) => tellTruth(piece, content.subarray(0, -1));

const tooMany: Lie = (piece, content) => tellTruth(piece, Buffer.concat([content, content]));

const nothing: Lie = async function* (_piece, _content, signal) {
  await aborted(signal);
  yield* [];
};

const nothingAfterHalf: Lie = async function* (piece, content, signal) {
  yield* tellTruth(piece, content.subarray(0, content.byteLength / 2));
  await aborted(signal);
};

/** Never silent for long, and never done. */
const crawling: Lie = async function* (piece, content, signal) {
  yield piece;
  for (let at = 0; !signal.aborted; at += 1) {
    yield content.subarray(at, at + 1);
    await sleep(500, undefined, { signal });
  }
};

const anError: Lie = () => {
  throw status("DATA_LOSS", "the disk is gone");
};

const anErrorAfterHalf: Lie = async function* (piece, content) {
  yield* tellTruth(piece, content.subarray(0, content.byteLength / 2));
  throw status("DATA_LOSS", "the disk is gone");
};

const notFound: Lie = () => {
  throw status("NOT_FOUND", "no such piece");
};

/** Other bytes with the CRC-32 of the right ones, under both digests of those. */
const forgedBytes: Lie = (piece, content) => {
  const forged = Uint8Array.from(content);
  // CRC-32 is linear: its polynomial, wherever it is written over, changes nothing of it. The bits of each byte the other way round.
  for (const [index, bits] of [0x80, 0x20, 0x83, 0xb8, 0xed].entries())
    forged[100 + index]! ^= bits;
  return tellTruth({ ...piece, strongDigest: `sha256:${sha256(content)}` }, forged);
};

function flipped(content: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(content);
  copy[copy.byteLength >> 1]! ^= 1;
  return copy;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const PROTOCOLS = ["grpc", "quic", "tcp"] as const;

/** What it does, and what the log of its child says about it. */
const LIES: readonly (readonly [what: string, lie: Lie, reason: RegExp])[] = [
  ["sends wrong bytes", wrongBytes, /digest is crc32:\d+, expected crc32:\d+/],
  [
    "sends wrong bytes under a digest to match",
    wrongBytesWithTheirDigest,
    /it says piece \d is crc32:\d+, who read the origin says crc32:\d+/,
  ],
  ["names no digest", noDigest, /without a digest/],
  ["names another place", anotherPlace, /bytes at \d+, expected piece/],
  ["names another length", anotherLength, /bytes at \d+, expected piece/],
  ["sends too few bytes", tooFew, /ended after \d+ of \d+ bytes/],
  ["sends too many bytes", tooMany, /more arrived than|follow|after its end/],
  ["sends nothing", nothing, /not announced within 1000 ms|nothing came in 1000 ms/],
  ["sends an error", anError, /the disk is gone/],
  ["sends an error after half a piece", anErrorAfterHalf, /the disk is gone|reset it|ended after/],
  ["has not what it said it has", notFound, /no such piece/],
];

/** What it says that it has, while it would serve everything as it is. */
const TALES: readonly (readonly [what: string, tell: LiarOptions["tell"], reason: RegExp])[] = [
  ["nothing", async function* () {}, /it has nothing left that it can give/],
  [
    "pieces of another length",
    async function* (pieces) {
      for (const piece of pieces) yield { ...piece, length: piece.length - 1 };
    },
    /it says piece 0 is \d+ bytes at 0, expected \d+ at 0/,
  ],
  [
    "pieces that there are not",
    async function* ([piece]) {
      yield { ...piece, number: 3 };
    },
    /it says piece 3 is \d+ bytes at 0, the task has 3 pieces/,
  ],
  [
    "an error",
    async function* () {
      yield* [];
      throw status("INTERNAL", "the disk is gone");
    },
    /the disk is gone/,
  ],
];

const cluster = useCluster("file");
let origin: OriginServer;
let scheduler: RunningScheduler;

beforeAll(async () => {
  origin = await openOriginServer();
  scheduler = await cluster.startScheduler();
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

let count = 0;

/** What to open a liar with, about a file of its own. */
function about(lie: Lie, length = LENGTH): Omit<LiarOptions, "tell"> & { readonly path: string } {
  count += 1;
  const path = `/file-${count}`;
  const content = CONTENT.subarray(0, length);
  origin.set(path, { content });
  return {
    name: `liar-${count}`,
    scheduler,
    url: `${origin.url}${path}`,
    path,
    content,
    pieceLength: PIECE_LENGTH,
    lie,
  };
}

/** What the daemon says of the end of this parent. */
function droppings(daemon: RunningDaemon, hostId: string): LogLine[] {
  return daemon.log.filter(
    ({ msg, parent }) => parent === hostId && msg.startsWith("parent dropped: "),
  );
}

describe.each(PROTOCOLS)("a parent that, over %s,", (protocol) => {
  let daemon: RunningDaemon;
  /** Waits no longer than a second for the announcement of a piece: for those who do not announce any. */
  let hasty: RunningDaemon;

  beforeAll(async () => {
    const common = { protocol, scheduler: scheduler.address } as const;
    daemon = await cluster.startDaemon({ ...common, name: protocol });
    hasty = await cluster.startDaemon({
      ...common,
      name: `${protocol}-hasty`,
      settings: { "download.pieceTimeout": "1s" },
    });
    await untilAnnounced(scheduler, [daemon, hasty]);
  });

  // Over TCP what follows a piece is none of it, as with Dragonfly: it costs the connection.
  const lies = LIES.filter(([, lie]) => protocol !== "tcp" || lie !== tooMany);

  it.concurrent.each(lies)("%s is dropped, and the file is right", async (_, lie, reason) => {
    const options = about(lie);
    await using liar = await openLiar(options);
    const child = lie === nothing ? hasty : daemon;
    const got = await cluster.fetch(options.url, { daemon: child });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: LENGTH, fromParents: {} });
    expect(liar.asked.length).toBeGreaterThan(0);
    const [dropping, ...others] = droppings(child, liar.hostId);
    expect(dropping?.msg).toMatch(reason);
    expect(others).toEqual([]);
  });

  it.concurrent("sends nothing after half a piece has the rest of each fetched from the origin", async () => {
    const options = about(nothingAfterHalf);
    await using liar = await openLiar(options);
    const got = await cluster.fetch(options.url, { daemon });
    expect(got.sha256).toBe(SHA256);
    expect(liar.asked.length).toBeGreaterThan(0);
    const moves = daemon.log.filter(
      ({ msg, from }) => from === liar.hostId && / has fallen silent .*asking the origin/.test(msg),
    );
    const kept = moves.reduce((sum, { offset }) => sum + Number(offset), 0);
    expect(kept).toBeGreaterThan(0);
    expect(origin.bodyBytes(options.path)).toBe(LENGTH - kept);
  });

  it.concurrent("has only one piece, and sends too little of it, is not waited for", async () => {
    const length = 100_003;
    const options = about(tooFew, length);
    await using liar = await openLiar(options);
    const got = await cluster.fetch(options.url, { daemon });
    expect(got).toMatchObject({ fromOrigin: length, fromParents: {} });
    expect(got.sha256).toBe(sha256(CONTENT.subarray(0, length)));
    expect(droppings(daemon, liar.hostId)[0]?.msg).toMatch(/ended after \d+ of 100003 bytes/);
  });

  it.concurrent("sends a byte now and then, and is the only one that has the file, is not waited for", async () => {
    const options = about(crawling);
    await using liar = await openLiar(options);
    const got = await cluster.fetch(options.url, { daemon });
    expect(got.sha256).toBe(SHA256);
    expect(liar.asked.length).toBeGreaterThan(0);
    expect(origin.bodyBytes(options.path)).toBeGreaterThan(0.9 * LENGTH);
  });

  it.concurrent("tells the truth is believed", async () => {
    const options = about(tellTruth);
    await using liar = await openLiar(options);
    const got = await cluster.fetch(options.url, { daemon });
    expect(got).toMatchObject({
      sha256: SHA256,
      fromOrigin: 0,
      fromParents: { [liar.hostId]: LENGTH },
    });
    expect(origin.bodyBytes(options.path)).toBe(0);
    expect(droppings(daemon, liar.hostId)).toEqual([]);
  });
});

describe.each(PROTOCOLS)(
  "a parent that, over %s, sends other bytes with the right CRC-32",
  (protocol) => {
    it.each([
      ["crc32", "is believed, as CRC-32 is no proof against who means to lie"],
      ["sha256", "is dropped, and the file is right"],
    ])("where storage.pieceDigest is %s, %s", async (pieceDigest) => {
      const daemon = await cluster.startDaemon({
        name: `${protocol}-${pieceDigest}`,
        protocol,
        scheduler: scheduler.address,
        settings: { "storage.pieceDigest": pieceDigest },
      });
      await untilAnnounced(scheduler, [daemon]);
      const options = about(forgedBytes);
      await using liar = await openLiar(options);
      const got = await cluster.fetch(options.url, { daemon });
      if (pieceDigest === "crc32") {
        expect(got.sha256).not.toBe(SHA256);
        return;
      }
      expect(got).toMatchObject({ sha256: SHA256, fromOrigin: LENGTH, fromParents: {} });
      expect(droppings(daemon, liar.hostId)[0]?.msg).toMatch(
        /digest is sha256:[0-9a-f]+, expected sha256:/,
      );
    });
  },
);

describe("a parent that says it has", () => {
  let daemon: RunningDaemon;

  beforeAll(async () => {
    daemon = await cluster.startDaemon({ name: "listener", scheduler: scheduler.address });
    await untilAnnounced(scheduler, [daemon]);
  });

  it.concurrent.each(TALES)("%s is dropped, and the file is right", async (_, tell, reason) => {
    const options = { ...about(tellTruth), tell };
    await using liar = await openLiar(options);
    const got = await cluster.fetch(options.url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: LENGTH, fromParents: {} });
    expect(droppings(daemon, liar.hostId)[0]?.msg).toMatch(reason);
  });
});

describe("a scheduler that was restarted", () => {
  /** To match what the liar of this test sends. */
  async function* tellOfWrongBytes(pieces: readonly PieceInfo[]): AsyncGenerator<PieceInfo> {
    for (const piece of pieces) {
      const { offset, length } = piece;
      yield { ...piece, digest: digestOf(flipped(CONTENT.subarray(offset, offset + length))) };
    }
  }

  it("names nobody who says that he has a file before the seed has told what it read, whoever comes first", async () => {
    const former = await cluster.startScheduler();
    const settings = { scheduler: former.address };
    const seed = await cluster.startDaemon({ name: "seed", seed: true, ...settings });
    const daemon = await cluster.startDaemon({ name: "child", ...settings });
    const options = { ...about(wrongBytesWithTheirDigest), tell: tellOfWrongBytes, isSilent: true };
    await cluster.fetch(options.url, { daemon: seed });

    await former.child.end();
    const restarted = await cluster.startScheduler({ port: former.port });
    await using liar = await openLiar({ ...options, scheduler: restarted });
    await untilAnnounced(restarted, [seed, daemon]);
    const got = await cluster.fetch(options.url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: 0 });
    expect(got.fromParents).toEqual({ [seed.hostId]: LENGTH });
    for (const { msg } of droppings(daemon, liar.hostId))
      expect(msg).toMatch(/it says piece \d is crc32:\d+, who read the origin says crc32:\d+/);
    expect(origin.bodyBytes(options.path)).toBe(LENGTH);
  });

  it("has pieces that a liar gave before the seed was there fetched again, and the liar dropped", async () => {
    const former = await cluster.startScheduler();
    const seedOptions = { name: "late-seed", seed: true, scheduler: former.address };
    const seed = await cluster.startDaemon(seedOptions);
    const options = { ...about(wrongBytesWithTheirDigest), tell: tellOfWrongBytes, isSilent: true };
    await cluster.fetch(options.url, { daemon: seed });
    await seed.child.end();

    await former.child.end();
    const restarted = await cluster.startScheduler({ port: former.port });
    const daemon = await cluster.startDaemon({
      name: "believer",
      scheduler: restarted.address,
      // Slow by its own will: that is nobody's fault, and the seed comes in the middle.
      settings: { "download.bandwidthLimit": "2MB", "download.concurrentPieceCount": 1 },
    });
    await using liar = await openLiar({ ...options, scheduler: restarted });
    await untilAnnounced(restarted, [daemon, liar]);
    const running = cluster.startDfget(options.url, { daemon });
    await running.untilProgress();
    expect(liar.asked).not.toEqual([]);
    freeze(daemon);
    try {
      const returned = await cluster.startDaemon(seedOptions);
      await untilAnnounced(restarted, [returned]);
      await restarted.child.until("the seed is asked", () =>
        restarted.log.find(({ msg }) => msg.startsWith("asking a seed")),
      );
    } finally {
      thaw(daemon);
    }
    const { done } = await running.result;
    expect(await sha256OfFile(running.output)).toBe(SHA256);
    expect(done).toMatchObject({ fromOrigin: 0 });
    expect(done?.fromParents).toHaveProperty([seed.hostId]);
    expect(droppings(daemon, liar.hostId)[0]?.msg).toMatch(
      /it gave piece \d as crc32:\d+, who read the origin says that it is something else/,
    );
    expect(origin.bodyBytes(options.path)).toBe(LENGTH);
  });
});
