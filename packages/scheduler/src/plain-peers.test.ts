import {
  createSchedulerClient,
  type Download__Output,
  implementService,
  type SchedulerClient,
  serveRpc,
} from "@damselfly/rpc";
import { createTestAuthority, type TestAuthority } from "@damselfly/rpc/testing";
import type { TlsIdentity } from "@damselfly/transport";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type SchedulerServer, serveScheduler } from "./index.ts";

const LOOPBACK = "127.0.0.1";
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const opened: AsyncDisposable[] = [];
let authority: TestAuthority;
let own: TlsIdentity;

beforeAll(async () => {
  authority = await createTestAuthority();
  own = await authority.issue({ dnsNames: ["d7y", "scheduler"] });
});

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function keep<T extends AsyncDisposable>(resource: T): T {
  opened.push(resource);
  return resource;
}

async function open(): Promise<SchedulerServer> {
  return keep(
    await serveScheduler({
      address: { ip: LOOPBACK, port: 0 },
      tls: own,
      seedTls: own,
      plainPeers: true,
      config: { tickMs: 5 },
      logger: silent,
    }),
  );
}

function connect(server: SchedulerServer, tls?: TlsIdentity): SchedulerClient {
  return keep(createSchedulerClient(server.address, { tls }));
}

async function announce(
  client: SchedulerClient,
  name: string,
  facts: { readonly type?: number; readonly port?: number } = {},
): Promise<void> {
  const { type = 0, port = 4000 } = facts;
  const host = { id: name, hostname: name, type, ip: LOOPBACK, port, downloadPort: port };
  await client.announceHost({ host, interval: { seconds: 300 } });
}

/** What the first peer of a task is told. */
async function register(client: SchedulerClient, hostId: string): Promise<string | undefined> {
  await using call = client.announcePeer();
  const download = { url: "http://origin/file", actualContentLength: 1, actualPieceCount: 1 };
  const ids = { hostId, taskId: "task", peerId: `${hostId}-peer` };
  await call.write({ ...ids, registerPeerRequest: { download } });
  for await (const { response } of call) return response;
  return undefined;
}

describe("a scheduler with TLS that serves plain peers too", () => {
  it("knows both on one port", async () => {
    const server = await open();
    const certified = connect(server, await authority.issue({ dnsNames: ["d7y", "ours"] }));
    const plain = connect(server);
    await announce(certified, "ours");
    await announce(plain, "theirs");
    expect((await plain.listHosts({})).hosts.map(({ id }) => id)).toEqual(["ours", "theirs"]);
    expect(await register(plain, "theirs")).toBe("needBackToSourceResponse");
  });

  it("lets nobody without a certificate speak for a host that has shown one, gone or not", async () => {
    const server = await open();
    const certified = connect(server, await authority.issue({ dnsNames: ["d7y", "ours"] }));
    const plain = connect(server);
    await announce(certified, "ours");
    const denied = {
      code: "PERMISSION_DENIED",
      reason:
        "Cannot accept host ours: it has shown a certificate before, and this caller shows none",
    };
    await expect(announce(plain, "ours")).rejects.toMatchObject(denied);
    await expect(plain.deleteHost({ hostId: "ours" })).rejects.toMatchObject(denied);
    await expect(register(plain, "ours")).rejects.toMatchObject(denied);
    await certified.deleteHost({ hostId: "ours" });
    await expect(announce(plain, "ours")).rejects.toMatchObject(denied);
    // One that was plain may get a certificate.
    await announce(plain, "theirs");
    const late = connect(server, await authority.issue({ dnsNames: ["d7y", "theirs"] }));
    await announce(late, "theirs");
    await expect(announce(plain, "theirs")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("takes a peer in whose host has not announced itself, unless its host could show who it is", async () => {
    const server = await open();
    expect(await register(connect(server), "127.0.0.1-guest")).toBe("needBackToSourceResponse");
    const certified = connect(server, await authority.issue({ dnsNames: ["d7y", "guest"] }));
    await expect(register(certified, "127.0.0.1-other")).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it.each([true, false])(
    "asks a seed in the way that it was announced (certified: %s)",
    async (isCertified) => {
      const server = await open();
      const identity = await authority.issue({ dnsNames: ["d7y", "seed"] });
      const asked: Download__Output[] = [];
      const seed = keep(
        await serveRpc({
          address: { ip: LOOPBACK, port: 0 },
          tls: isCertified ? identity : undefined,
          services: [
            implementService("dfdaemon.v2.DfdaemonUpload", {
              async *downloadTask({ download }) {
                if (download !== null) asked.push(download);
                yield { taskId: "task", peerId: "seed-peer" };
              },
            }),
          ],
          graceMs: 0,
        }),
      );
      if (!("ip" in seed.address)) throw new TypeError("a port was asked for");
      const client = connect(server, isCertified ? identity : undefined);
      await announce(client, "seed", { type: 1, port: seed.address.port });
      const plain = connect(server);
      await announce(plain, "child");
      expect(await register(plain, "child")).toBe("normalTaskResponse");
      expect(asked).toMatchObject([
        { url: "http://origin/file", needBackToSource: true, schedulingPolicy: "ALWAYS" },
      ]);
    },
  );
});
