import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  createDfdaemonDownloadClient,
  createSchedulerClient,
  type Download,
  type Piece__Output,
} from "@damselfly/rpc";
import { serveScheduler, type SchedulerServer } from "@damselfly/scheduler";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "./logger.ts";
import {
  announceDragonfly,
  downloadAsDragonfly,
  type DragonflyDownload,
} from "./testing/dragonfly-child.ts";
import { DragonflyParent } from "./testing/dragonfly-parent.ts";
import { openOriginServer, seededContent, type OriginServer } from "./testing/origin-server.ts";
import { openDaemonBench, type DaemonBench, type DaemonInTest } from "./testing/running-daemon.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const LENGTH = 3 * PIECE_LENGTH + 17;
const CONTENT = Buffer.from(seededContent(LENGTH));
const SHA256 = sha256(CONTENT);
const LOOPBACK = "127.0.0.1";

let origin: OriginServer;
let bench: DaemonBench;
const opened: AsyncDisposable[] = [];

beforeAll(async () => {
  origin = await openOriginServer();
  bench = await openDaemonBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function keep<T extends AsyncDisposable>(resource: T): T {
  opened.push(resource);
  return resource;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

let count = 0;

/** A file that no test has used before. */
function serveFile(): { readonly path: string; readonly url: string } {
  count += 1;
  const path = `/dragonfly-${count}`;
  origin.set(path, { content: CONTENT });
  return { path, url: `${origin.url}${path}` };
}

/** @param options.plainPeers without: as without certificates at all */
async function openScheduler(options: { readonly tls?: boolean } = {}): Promise<SchedulerServer> {
  return keep(
    await serveScheduler({
      address: { ip: LOOPBACK, port: 0 },
      logger: SILENT_LOGGER,
      plainPeers: true,
      ...(options.tls === true ? { tls: await bench.identity("scheduler") } : {}),
    }),
  );
}

/** One of our daemons, at this scheduler. */
async function openDaemon(
  scheduler: SchedulerServer,
  options: {
    readonly name: string;
    readonly settings?: Readonly<Record<string, unknown>>;
    readonly tls?: boolean;
  },
): Promise<DaemonInTest> {
  const { name, settings = {}, tls = false } = options;
  const address = `${scheduler.address.ip}:${scheduler.address.port}`;
  const daemon = await bench.start(name, { "scheduler.addrs": [address], ...settings }, { tls });
  keep({ [Symbol.asyncDispose]: () => daemon.stop() });
  const client = keep(
    createSchedulerClient(scheduler.address, tls ? { tls: await bench.identity("test") } : {}),
  );
  // Others are sent there from now on.
  const isKnown = async (): Promise<boolean> =>
    (await client.listHosts({})).hosts.some(({ id }) => id === daemon.hostId);
  await expect.poll(isKnown, { timeout: 20_000 }).toBe(true);
  return daemon;
}

interface Outcome {
  readonly taskId: string;
  readonly sha256: string;
  /** Bytes by host id, or `origin`. */
  readonly sources: ReadonlyMap<string, number>;
}

/** Downloads with one of our daemons. */
async function download(daemon: DaemonInTest, fields: Download): Promise<Outcome> {
  const client = createDfdaemonDownloadClient(daemon);
  const outputPath = join(bench.directory, `output-${randomUUID()}`);
  const pieces: Piece__Output[] = [];
  let taskId = "";
  try {
    for await (const response of client.downloadTask({ download: { ...fields, outputPath } })) {
      ({ taskId } = response);
      const piece = response.downloadPieceFinishedResponse?.piece;
      if (piece) pieces.push(piece);
    }
  } finally {
    await client[Symbol.asyncDispose]();
  }
  const sources = new Map<string, number>();
  for (const { parentId, length } of pieces) {
    const source = parentId ?? "origin";
    sources.set(source, (sources.get(source) ?? 0) + length);
  }
  return { taskId, sha256: sha256(await readFile(outputPath)), sources };
}

/** The task id of a URL, as a daemon that has nothing to do with the test says it is. */
async function taskIdOf(url: string): Promise<string> {
  const name = `asker-${count}`;
  const daemon = await bench.start(name, { "scheduler.embedded": false });
  try {
    return (await download(daemon, { url })).taskId;
  } finally {
    await daemon.stop();
  }
}

/** One of Dragonfly's children. */
async function downloadTheirs(
  scheduler: SchedulerServer,
  file: { readonly url: string; readonly taskId: string },
  hostname: string,
): Promise<DragonflyDownload> {
  const hostId = await announceDragonfly(scheduler.address, { hostname });
  return await downloadAsDragonfly({
    scheduler: scheduler.address,
    hostId,
    peerId: `${hostId}-${randomUUID()}`,
    ...file,
    contentLength: LENGTH,
    pieceLength: PIECE_LENGTH,
  });
}

/** One of Dragonfly's daemons that has the file and has told the scheduler so. */
async function openTheirs(
  scheduler: SchedulerServer,
  file: { readonly url: string; readonly taskId: string },
  hostname: string,
): Promise<{ readonly daemon: DragonflyParent; readonly hostId: string }> {
  const daemon = keep(await DragonflyParent.open());
  const { url, taskId } = file;
  daemon.hold({ taskId, content: CONTENT, pieceLength: PIECE_LENGTH, complete: true });
  const hostId = await announceDragonfly(scheduler.address, { hostname, port: daemon.port });
  await downloadAsDragonfly({
    scheduler: scheduler.address,
    hostId,
    peerId: `${hostId}-${randomUUID()}`,
    url,
    taskId,
    contentLength: LENGTH,
    pieceLength: PIECE_LENGTH,
    download: { metadataOnly: true },
  });
  return { daemon, hostId };
}

describe("one of Dragonfly's children", () => {
  it("gets everything from ours over TCP, with one word of our scheduler's", async () => {
    const scheduler = await openScheduler();
    const ours = await openDaemon(scheduler, { name: "parent" });
    const { path, url } = serveFile();
    const { taskId } = await download(ours, { url });
    const theirs = await downloadTheirs(scheduler, { url, taskId }, "their-child");
    expect(sha256(theirs.content)).toBe(SHA256);
    expect(theirs.schedule).toEqual(["parents"]);
    expect(new Set(theirs.pieces.values())).toEqual(new Set([ours.hostId]));
    expect(origin.bodyBytes(path)).toBe(LENGTH);
  });

  it("gets what a seed of ours is asked to fetch for it", async () => {
    const scheduler = await openScheduler();
    const seed = await openDaemon(scheduler, {
      name: "seed",
      settings: { "seedPeer.enable": true },
    });
    const { path, url } = serveFile();
    const taskId = await taskIdOf(url);
    const before = origin.bodyBytes(path);
    const theirs = await downloadTheirs(scheduler, { url, taskId }, "their-child");
    expect(sha256(theirs.content)).toBe(SHA256);
    expect(theirs.parents).toEqual([[seed.hostId]]);
    expect(origin.bodyBytes(path) - before).toBe(LENGTH);
  });

  it("is served by a daemon with certificates only where plainPeers is set", async () => {
    const scheduler = await openScheduler({ tls: true });
    const settings = { "security.plainPeers": true };
    const open = await openDaemon(scheduler, { name: "open", tls: true, settings });
    const { url } = serveFile();
    const { taskId } = await download(open, { url });
    const theirs = await downloadTheirs(scheduler, { url, taskId }, "their-child");
    expect(sha256(theirs.content)).toBe(SHA256);
    expect(theirs.parents).toEqual([[open.hostId]]);
  });
});

describe("one of Dragonfly's daemons as a parent", () => {
  it("gives ours everything over plain TCP", async () => {
    const scheduler = await openScheduler();
    const { path, url } = serveFile();
    const taskId = await taskIdOf(url);
    const before = origin.bodyBytes(path);
    const theirs = await openTheirs(scheduler, { url, taskId }, "their-parent");
    const ours = await openDaemon(scheduler, { name: "child" });
    const outcome = await download(ours, { url });
    expect(outcome).toMatchObject({ taskId, sha256: SHA256 });
    expect(outcome.sources).toEqual(new Map([[theirs.hostId, LENGTH]]));
    expect(new Set(theirs.daemon.served)).toEqual(new Set([0, 1, 2, 3]));
    expect(origin.bodyBytes(path)).toBe(before);
  });

  it("gives a daemon with certificates everything, too, where plainPeers is set", async () => {
    const scheduler = await openScheduler({ tls: true });
    const { url } = serveFile();
    const taskId = await taskIdOf(url);
    const theirs = await openTheirs(scheduler, { url, taskId }, "their-parent");
    const settings = { "security.plainPeers": true };
    const ours = await openDaemon(scheduler, { name: "child", tls: true, settings });
    const outcome = await download(ours, { url });
    expect(outcome.sha256).toBe(SHA256);
    expect(outcome.sources).toEqual(new Map([[theirs.hostId, LENGTH]]));
  });

  it.each([
    ["other bytes than its digest says", "content"],
    ["pieces without a digest", "digest"],
  ] as const)("that serves %s spoils nothing", async (_, fault) => {
    const scheduler = await openScheduler();
    const { path, url } = serveFile();
    const taskId = await taskIdOf(url);
    const before = origin.bodyBytes(path);
    const { daemon } = await openTheirs(scheduler, { url, taskId }, "their-parent");
    if (fault === "content") {
      daemon.quirks.contentOf = (number, content) =>
        number === 2 ? Buffer.alloc(content.length, 1) : content;
    } else {
      daemon.quirks.digestOf = () => "";
    }
    const ours = await openDaemon(scheduler, { name: `child-${fault}` });
    expect((await download(ours, { url })).sha256).toBe(SHA256);
    expect(ours.log.join("\n")).toContain(fault === "content" ? "digest" : "without a digest");
    expect(origin.bodyBytes(path)).toBeGreaterThan(before);
  });

  it("that vouches itself for other bytes is found out where another one has read the origin", async () => {
    const scheduler = await openScheduler();
    const { path, url } = serveFile();
    const taskId = await taskIdOf(url);
    const before = origin.bodyBytes(path);
    const file = { url, taskId };
    const reader = keep(await DragonflyParent.open());
    reader.hold({ taskId, content: CONTENT, pieceLength: PIECE_LENGTH });
    for (const number of [0, 2, 3]) reader.add(taskId, number);
    const readerId = await announceDragonfly(scheduler.address, {
      hostname: "their-reader",
      port: reader.port,
    });
    const read = await downloadAsDragonfly({
      scheduler: scheduler.address,
      hostId: readerId,
      peerId: `${readerId}-${randomUUID()}`,
      ...file,
      contentLength: LENGTH,
      pieceLength: PIECE_LENGTH,
      origin: ({ offset, length }) => CONTENT.subarray(offset, offset + length),
    });
    expect(read.schedule).toEqual(["origin"]);
    const liar = await openTheirs(scheduler, file, "their-liar");
    liar.daemon.hold({
      taskId,
      content: Buffer.alloc(LENGTH, 1),
      pieceLength: PIECE_LENGTH,
      complete: true,
    });
    // The one piece that the other has not is asked of it first.
    liar.daemon.quirks.contentOf = (_number, content) => {
      reader.add(taskId, 1);
      return content;
    };
    const ours = await openDaemon(scheduler, { name: "truthful" });
    const outcome = await download(ours, { url });
    expect(outcome.sha256).toBe(SHA256);
    expect(outcome.sources).toEqual(new Map([[readerId, LENGTH]]));
    expect(ours.log.join("\n")).toMatch(/who read the origin says/);
    expect(origin.bodyBytes(path)).toBe(before);
  });

  it("that dies on the way leaves the rest to the origin", async () => {
    const scheduler = await openScheduler();
    const { path, url } = serveFile();
    const taskId = await taskIdOf(url);
    const before = origin.bodyBytes(path);
    const { daemon } = await openTheirs(scheduler, { url, taskId }, "their-parent");
    daemon.quirks.contentOf = (number, content) => {
      if (number === 3) void daemon.kill();
      return content;
    };
    const ours = await openDaemon(scheduler, {
      name: "orphan",
      settings: { "download.concurrentPieceCount": 1 },
    });
    const outcome = await download(ours, { url });
    expect(outcome.sha256).toBe(SHA256);
    expect(origin.bodyBytes(path)).toBeGreaterThan(before);
  });

  it("and daemons that take bytes over TLS only read the origin once each", async () => {
    const scheduler = await openScheduler({ tls: true });
    const { path, url } = serveFile();
    const taskId = await taskIdOf(url);
    const before = origin.bodyBytes(path);
    const { daemon } = await openTheirs(scheduler, { url, taskId }, "their-parent");
    const closed = await openDaemon(scheduler, { name: "closed", tls: true });
    expect((await download(closed, { url })).sha256).toBe(SHA256);
    expect(daemon.syncRequests).toEqual([]);
    expect(origin.bodyBytes(path)).toBe(before + LENGTH);
  });
});
