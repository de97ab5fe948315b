import type { AnnouncePeerRequest, SchedulerClient } from "@damselfly/rpc";
import { createGate } from "@damselfly/transport/conformance";
import { describe, expect, it } from "vitest";
import type { PieceRecord } from "@damselfly/storage";
import { RpcPeerSession } from "./rpc-peer-session.ts";
import type { CandidateParent, PeerRegistration, SchedulerDialect } from "./scheduler-link.ts";

const REGISTRATION: PeerRegistration = {
  taskId: "0".repeat(64),
  peerId: "127.0.0.1-node-peer",
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

const PIECE: PieceRecord = {
  number: 0,
  offset: 0,
  length: 1,
  digest: "crc32:1",
  parentId: "",
  trafficType: "BACK_TO_SOURCE",
  costMs: 1,
  createdAtMs: 1,
};

const PARENT: CandidateParent = {
  peerId: "10.0.0.9-nine-peer",
  hostId: "10.0.0.9-nine",
  hostname: "nine",
  ip: "10.0.0.9",
  port: 4000,
  digests: new Map(),
};

/** A session, and what it has written, with the kinds of that; writing takes no time at all, once `taken` has settled. */
function openSession(dialect: SchedulerDialect = "damselfly", taken?: Promise<void>) {
  const written: string[] = [];
  const bodies: Omit<AnnouncePeerRequest, "hostId" | "taskId" | "peerId">[] = [];
  const duplex = {
    write: async ({ hostId: _h, taskId: _t, peerId: _p, ...body }: AnnouncePeerRequest) => {
      bodies.push(body);
      written.push(...Object.keys(body));
      await taken;
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
  const client = { target: "scheduler", announcePeer: () => duplex } as unknown as SchedulerClient;
  const options = {
    hostId: "127.0.0.1-node",
    dialect,
    signal: new AbortController().signal,
    onLost: () => {},
  };
  return { session: new RpcPeerSession(client, REGISTRATION, options), written, bodies };
}

async function microtasks(count: number): Promise<void> {
  for (let step = 0; step < count; step += 1) await Promise.resolve();
}

describe("RpcPeerSession", () => {
  it("sends what is said at any moment around the end of what was said before", async () => {
    for (let count = 0; count < 12; count += 1) {
      const { session, written } = openSession();
      await microtasks(count);
      session.started("origin");
      await microtasks(50);
      expect(written, `${count} microtasks later`).toEqual([
        "registerPeerRequest",
        "downloadPeerBackToSourceStartedRequest",
      ]);
    }
  });

  it.each([
    ["damselfly", ["BACK_TO_SOURCE", "LOCAL_PEER"]],
    ["dragonfly", ["LOCAL_PEER", "LOCAL_PEER"]],
  ] as const)(
    "tells a scheduler of %s of the pieces that were here, and ours which were read at the origin",
    async (dialect, trafficTypes) => {
      const { session, bodies } = openSession(dialect);
      const given = { trafficType: "REMOTE_PEER", parentId: "127.0.0.1-parent" } as const;
      session.holds([PIECE, { ...PIECE, number: 1, ...given }]);
      await microtasks(50);
      const held = bodies.map(({ downloadPieceFinishedRequest }) => downloadPieceFinishedRequest);
      expect(held.slice(1)).toMatchObject(
        trafficTypes.map((trafficType, number) => ({
          piece: { number, digest: "crc32:1", trafficType },
        })),
      );
      expect(held[2]?.piece).not.toHaveProperty("parentId");
    },
  );

  it.each([256, 257, 10_000])(
    "names 256 parents of %i as being of no use, the latest",
    async (count) => {
      const { session, bodies } = openSession();
      const parents = Array.from({ length: count }, (_, n) => ({ ...PARENT, peerId: `peer-${n}` }));
      session.reschedule(parents, "nobody brings anything");
      await microtasks(50);
      const named = bodies.at(-1)?.reschedulePeerRequest?.candidateParents?.map(({ id }) => id);
      expect(named).toEqual(parents.slice(-256).map(({ peerId }) => peerId));
    },
  );

  it.each([100_000, 100_001, 200_000])(
    "keeps a hundred thousand of %i reports that wait, dropping the oldest of pieces",
    async (count) => {
      const scheduler = createGate();
      const { session, bodies } = openSession("damselfly", scheduler.opened);
      await microtasks(10); // the registration is being written, and is none of those that wait
      session.started("parents");
      for (let number = 1; number < count; number += 1) {
        session.pieceFinished({ ...PIECE, number }, PARENT);
      }
      scheduler.open();
      await expect
        .poll(() => bodies.at(-1)?.downloadPieceFinishedRequest?.piece?.number)
        .toBe(count - 1);
      expect(bodies).toHaveLength(1 + 100_000);
      expect(bodies[1]).toHaveProperty("downloadPeerStartedRequest");
      expect(bodies[2]?.downloadPieceFinishedRequest?.piece?.number).toBe(count - 99_999);
    },
  );
});
