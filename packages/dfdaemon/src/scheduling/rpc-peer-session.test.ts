import type { AnnouncePeerRequest, SchedulerClient } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import type { PieceRecord } from "@damselfly/storage";
import { RpcPeerSession } from "./rpc-peer-session.ts";
import type { PeerRegistration, SchedulerDialect } from "./scheduler-link.ts";

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

/** A session, and what it has written, with the kinds of that; writing takes no time at all. */
function openSession(dialect: SchedulerDialect = "damselfly") {
  const written: string[] = [];
  const bodies: Omit<AnnouncePeerRequest, "hostId" | "taskId" | "peerId">[] = [];
  const duplex = {
    write: async ({ hostId: _h, taskId: _t, peerId: _p, ...body }: AnnouncePeerRequest) => {
      bodies.push(body);
      written.push(...Object.keys(body));
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
});
