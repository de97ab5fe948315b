import type { AnnouncePeerRequest, SchedulerClient } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { RpcPeerSession } from "./rpc-peer-session.ts";
import type { PeerRegistration } from "./scheduler-link.ts";

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

/** A session, and the kinds of what it has written; writing takes no time at all. */
function openSession(): { readonly session: RpcPeerSession; readonly written: string[] } {
  const written: string[] = [];
  const duplex = {
    write: async ({ hostId: _h, taskId: _t, peerId: _p, ...body }: AnnouncePeerRequest) => {
      written.push(...Object.keys(body));
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
  const client = { target: "scheduler", announcePeer: () => duplex } as unknown as SchedulerClient;
  const options = {
    hostId: "127.0.0.1-node",
    dialect: "damselfly" as const,
    signal: new AbortController().signal,
    onLost: () => {},
  };
  return { session: new RpcPeerSession(client, REGISTRATION, options), written };
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
});
