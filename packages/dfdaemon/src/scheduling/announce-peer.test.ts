import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  createDfdaemonDownloadClient,
  status,
  timestampFromDate,
  type AnnouncePeerRequest__Output,
  type AnnouncePeerResponse,
  type Download,
  type Peer,
} from "@damselfly/rpc";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  serveStrictScheduler,
  type StrictPeer,
  type StrictScheduler,
  type StrictSchedulerOptions,
} from "../testing/dragonfly-scheduler.ts";
import { openOriginServer, seededContent, type OriginServer } from "../testing/origin-server.ts";
import {
  findFreePort,
  openDaemonBench,
  type DaemonBench,
  type DaemonInTest,
} from "../testing/running-daemon.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
/** Three pieces: more than what Dragonfly's daemons fetch without asking. */
const CONTENT = seededContent(2 * PIECE_LENGTH + 100_003);
const SMALL = seededContent(1_000);
const WAIT = { timeout: 25_000, interval: 10 };

const BACK_TO_SOURCE: AnnouncePeerResponse = {
  needBackToSourceResponse: { description: "because" },
};

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

interface Stage {
  readonly scheduler: StrictScheduler;
  readonly bench: DaemonBench;
  readonly origin: OriginServer;
  readonly url: string;
  readonly daemon: DaemonInTest;
  readonly start: (
    name: string,
    settings?: Readonly<Record<string, unknown>>,
  ) => Promise<DaemonInTest>;
  /** Fetches the file with a daemon; resolves with whether it is the right one. */
  readonly fetch: (daemon: DaemonInTest, download?: Download) => Promise<boolean>;
}

async function setStage(
  options: StrictSchedulerOptions,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Stage> {
  const scheduler = await serveStrictScheduler(options);
  const origin = await openOriginServer();
  const bench = await openDaemonBench();
  disposables.push(scheduler, origin, bench);
  origin.set("/file", { content: CONTENT });
  const start: Stage["start"] = async (name, more = {}) => {
    const daemon = await bench.start(name, {
      "scheduler.addrs": [scheduler.address],
      "storage.server.protocol": "grpc",
      ...settings,
      ...more,
    });
    await vi.waitFor(
      () => expect(scheduler.announcements.some(({ host }) => host?.hostname === name)).toBe(true),
      WAIT,
    );
    return daemon;
  };
  const url = `${origin.url}/file`;
  let count = 0;
  return {
    scheduler,
    bench,
    origin,
    url,
    start,
    daemon: await start("node"),
    async fetch(daemon, download = {}) {
      count += 1;
      const outputPath = join(bench.directory, `output-${count}`);
      await using client = createDfdaemonDownloadClient(daemon);
      for await (const _ of client.downloadTask({ download: { url, outputPath, ...download } }));
      const expected = download.url === undefined ? CONTENT : SMALL;
      return sha256(await readFile(outputPath)) === sha256(expected);
    },
  };
}

function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function kindsOf(peer: StrictPeer | undefined): (string | undefined)[] {
  return (peer?.messages ?? []).map(({ request }) => request);
}

/** A parent as Dragonfly's scheduler names it. */
function candidateOf(
  peer: Pick<StrictPeer, "peerId" | "taskId">,
  host: { readonly id: string; readonly hostname: string; readonly port: number },
  url: string,
): Peer {
  const at = timestampFromDate(new Date());
  return {
    id: peer.peerId,
    state: "Succeeded",
    cost: { seconds: 1, nanos: 0 },
    task: { id: peer.taskId, url, state: "Succeeded", createdAt: at, updatedAt: at },
    host: { ...host, ip: "127.0.0.1", downloadPort: host.port },
    createdAt: at,
    updatedAt: at,
  };
}

function parents(...candidateParents: Peer[]): AnnouncePeerResponse {
  return { normalTaskResponse: { candidateParents } };
}

describe("a daemon and a scheduler as strict as Dragonfly's", { timeout: 60_000 }, () => {
  it("says all that is asked for when it is sent to the origin", async () => {
    const { scheduler, daemon, url, fetch } = await setStage({ answer: () => BACK_TO_SOURCE });
    const header = { "X-Wanted": "yes" };
    const download = { tag: "t", application: "a", requestHeader: header };
    expect(await fetch(daemon, { ...download, priority: "LEVEL5" })).toBe(true);
    expect(scheduler.faults).toEqual([]);
    const [peer] = scheduler.peers;
    expect(kindsOf(peer)).toEqual([
      "registerPeerRequest",
      "downloadPeerBackToSourceStartedRequest",
      ...Array.from({ length: 3 }, () => "downloadPieceBackToSourceFinishedRequest"),
      "downloadPeerBackToSourceFinishedRequest",
    ]);
    expect(peer?.messages[0]?.registerPeerRequest?.download).toMatchObject({
      url,
      type: "STANDARD",
      tag: "t",
      application: "a",
      priority: "LEVEL5",
      requestHeader: header,
      schedulingPolicy: "AUTO",
      concurrentPieceCount: 8,
      actualPieceLength: PIECE_LENGTH,
      actualContentLength: CONTENT.length,
      actualPieceCount: 3,
    });
    const piece = peer?.messages[2]?.downloadPieceBackToSourceFinishedRequest?.piece;
    expect(piece).toMatchObject({
      trafficType: "BACK_TO_SOURCE",
      digest: expect.stringMatching(/^crc32:\d+$/),
    });
  });

  it("fetches from the parents that it is told of, and names them with each piece", async () => {
    let seed: { readonly peer: StrictPeer; readonly daemon: DaemonInTest } | undefined;
    const stage = await setStage({
      answer: ({ peerId }) =>
        seed === undefined
          ? BACK_TO_SOURCE
          : parents(
              candidateOf(
                seed.peer,
                { id: seed.daemon.hostId, hostname: "node", port: seed.daemon.upload.port },
                peerId,
              ),
            ),
    });
    expect(await stage.fetch(stage.daemon)).toBe(true);
    seed = { peer: stage.scheduler.peers[0]!, daemon: stage.daemon };
    const child = await stage.start("child");
    const servedByOrigin = stage.origin.requests.length;
    expect(await stage.fetch(child)).toBe(true);
    const got = stage.origin.requests
      .slice(servedByOrigin)
      .reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
    expect(got).toBeLessThan(PIECE_LENGTH);
    expect(stage.scheduler.faults).toEqual([]);
    const peer = stage.scheduler.peers[1];
    // On a slow machine it has time to ask for more parents.
    expect(kindsOf(peer).filter((kind) => kind !== "reschedulePeerRequest")).toEqual([
      "registerPeerRequest",
      "downloadPeerStartedRequest",
      ...Array.from({ length: 3 }, () => "downloadPieceFinishedRequest"),
      "downloadPeerFinishedRequest",
    ]);
    expect(peer?.messages[2]?.downloadPieceFinishedRequest?.piece).toMatchObject({
      parentId: seed.peer.peerId,
      trafficType: "REMOTE_PEER",
    });
    expect(peer?.state).toBe("Succeeded");
  });

  it("asks for other parents when those it was told of are of no use, and has them set aside", async () => {
    const port = await findFreePort();
    const dead = (peer: StrictPeer): Peer =>
      candidateOf(
        { peerId: `10.0.0.9-dead-${peer.answerCount}`, taskId: peer.taskId },
        { id: `10.0.0.9-dead-${peer.answerCount}`, hostname: "dead", port },
        "http://origin.test/",
      );
    const stage = await setStage({
      answer: (peer) => (peer.answerCount < 2 ? parents(dead(peer)) : BACK_TO_SOURCE),
    });
    expect(await stage.fetch(stage.daemon)).toBe(true);
    expect(stage.scheduler.faults).toEqual([]);
    const messages = stage.scheduler.peers[0]?.messages ?? [];
    expect(
      kindsOf(stage.scheduler.peers[0]).filter((kind) => kind?.includes("Piece") !== true),
    ).toEqual([
      "registerPeerRequest",
      "downloadPeerStartedRequest",
      "reschedulePeerRequest",
      "reschedulePeerRequest",
      "downloadPeerBackToSourceStartedRequest",
      "downloadPeerBackToSourceFinishedRequest",
    ]);
    const failed = messages.flatMap((message) => message.downloadPieceFailedRequest ?? []);
    expect(failed.map(({ temporary, parentId }) => [temporary, parentId])).toEqual([
      [true, "10.0.0.9-dead-0"],
      [true, "10.0.0.9-dead-1"],
    ]);
    const named = messages.flatMap(
      (message) => message.reschedulePeerRequest?.candidateParents.map(({ id }) => id).join() ?? [],
    );
    expect(named).toEqual(["10.0.0.9-dead-0", "10.0.0.9-dead-0,10.0.0.9-dead-1"]);
  });

  it("announces itself and registers again where it was forgotten", async () => {
    const stage = await setStage({ answer: () => BACK_TO_SOURCE });
    stage.scheduler.forget();
    expect(await stage.fetch(stage.daemon)).toBe(true);
    expect(stage.scheduler.announcements.length).toBe(2);
    expect(stage.scheduler.peers.map(({ state }) => state)).toEqual(["Succeeded"]);
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("registers again, as another peer, when its stream breaks midway", async () => {
    let broken = false;
    const stage = await setStage({
      answer: () => BACK_TO_SOURCE,
      onMessage: (_, { request }) => {
        if (broken || request !== "downloadPieceBackToSourceFinishedRequest") return;
        broken = true;
        throw status("UNAVAILABLE", "going away");
      },
    });
    const { origin } = stage;
    let registeredAgain: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      registeredAgain = resolve;
    });
    // The last piece waits until the daemon has found its way back.
    origin.set("/file", {
      content: CONTENT,
      beforeChunk: () => (broken ? held : undefined),
      bytesPerSecond: 20_000_000,
    });
    const fetched = stage.fetch(stage.daemon);
    await vi.waitFor(() => expect(stage.scheduler.peers.length).toBe(2), WAIT);
    registeredAgain();
    expect(await fetched).toBe(true);
    const [first, second] = stage.scheduler.peers;
    expect(second?.peerId).not.toBe(first?.peerId);
    expect(second?.state).toBe("Succeeded");
    expect(kindsOf(second)).toContain("downloadPieceFinishedRequest");
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("is not put off by a scheduler that lies about parents", async () => {
    const self: { daemon?: DaemonInTest } = {};
    const stage = await setStage({
      answer: (peer) => {
        if (peer.answerCount > 0) return BACK_TO_SOURCE;
        const good = { id: "h", hostname: "h", port: 65_535 };
        const candidate = candidateOf(peer, good, "http://origin.test/");
        const { host } = candidate;
        return parents(
          { ...candidate, host: null },
          { ...candidate, id: "" },
          { ...candidate, host: { ...host, ip: "nowhere" } },
          { ...candidate, host: { ...host, port: -5 } },
          { ...candidate, host: { ...host, id: "x".repeat(100_000) } },
          candidateOf(
            peer,
            { id: self.daemon?.hostId ?? "", hostname: "node", port: 4_000 },
            "http://origin.test/",
          ),
          ...Array.from({ length: 3_000 }, (_, index) => ({
            ...candidate,
            id: `peer-${index}`,
            host: { ...host, id: `host-${index}`, port: 1 },
          })),
        );
      },
    });
    self.daemon = stage.daemon;
    expect(await stage.fetch(stage.daemon)).toBe(true);
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("waits no longer than it is allowed to for a scheduler that says nothing, or nothing known", async () => {
    for (const answer of [() => undefined, () => ({})]) {
      const stage = await setStage({ answer }, { "scheduler.scheduleTimeout": "300ms" });
      expect(await stage.fetch(stage.daemon)).toBe(true);
      expect(stage.scheduler.faults).toEqual([]);
      expect(kindsOf(stage.scheduler.peers[0])).toContain("downloadPeerBackToSourceStartedRequest");
    }
  });

  it("turns to the origin after so many answers that name nobody", async () => {
    const stage = await setStage({ answer: () => parents() }, { "scheduler.maxScheduleCount": 3 });
    expect(await stage.fetch(stage.daemon)).toBe(true);
    expect(stage.scheduler.peers[0]?.answerCount).toBe(3);
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("fetches what a scheduler calls empty", async () => {
    const stage = await setStage({ answer: () => ({ emptyTaskResponse: {} }) });
    expect(await stage.fetch(stage.daemon)).toBe(true);
    expect(stage.scheduler.faults).toEqual([]);
  });

  it.each(["FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNIMPLEMENTED", "INTERNAL"] as const)(
    "turns to the origin when the scheduler says %s",
    async (code) => {
      const stage = await setStage({
        answer: () => {
          throw status(code, "no");
        },
      });
      expect(await stage.fetch(stage.daemon)).toBe(true);
    },
  );

  it("does not turn to the origin where the priority forbids it", async () => {
    const stage = await setStage({
      answer: (_, message) => {
        const { priority } = message.registerPeerRequest?.download ?? {};
        if (priority === "LEVEL1") throw status("FAILED_PRECONDITION", "LEVEL1 peer is forbidden");
        throw status("NOT_FOUND", "LEVEL2 peer not found candidate peers");
      },
    });
    for (const priority of ["LEVEL1", "LEVEL2"] as const)
      await expect(stage.fetch(stage.daemon, { priority })).rejects.toThrow(`${priority} peer`);
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("says what the origin has answered when it fails", async () => {
    const stage = await setStage({ answer: () => BACK_TO_SOURCE });
    let count = 0;
    stage.origin.set("/file", {
      content: CONTENT,
      answer: (request, response) => {
        count += 1;
        const { range } = request.headers;
        if (request.method === "HEAD" || range === undefined) {
          response.writeHead(200, {
            "content-length": CONTENT.length,
            etag: '"1"',
            "accept-ranges": "bytes",
          });
          response.end();
          return;
        }
        response.writeHead(403, { "x-why": "no" }).end("no");
      },
    });
    await expect(stage.fetch(stage.daemon)).rejects.toThrow("403");
    expect(count).toBeGreaterThan(1);
    const messages = stage.scheduler.peers[0]?.messages ?? [];
    const [failure] = messages.flatMap(
      (message) => message.downloadPieceBackToSourceFailedRequest ?? [],
    );
    expect(failure?.backend).toMatchObject({ statusCode: 403, header: { "x-why": "no" } });
    expect(kindsOf(stage.scheduler.peers[0]).at(-1)).toBe("downloadPeerBackToSourceFailedRequest");
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("registers a small file only when the policy says so", async () => {
    const stage = await setStage({ answer: () => BACK_TO_SOURCE });
    stage.origin.set("/small", { content: SMALL });
    const url = `${stage.origin.url}/small`;
    expect(await stage.fetch(stage.daemon, { url })).toBe(true);
    expect(stage.scheduler.peers).toEqual([]);
    const always = { url, tag: "other", schedulingPolicy: "ALWAYS" } as const;
    expect(await stage.fetch(stage.daemon, always)).toBe(true);
    expect(stage.scheduler.peers.length).toBe(1);
    expect(stage.scheduler.faults).toEqual([]);
  });

  it("goes on, and ends, when the scheduler is killed midway", async () => {
    const stage = await setStage({
      answer: () => BACK_TO_SOURCE,
      onMessage: (_, { request }: AnnouncePeerRequest__Output) => {
        if (request === "downloadPieceBackToSourceFinishedRequest") void stage.scheduler.abort();
      },
    });
    expect(await stage.fetch(stage.daemon)).toBe(true);
  });
});
