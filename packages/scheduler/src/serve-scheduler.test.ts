import {
  type AnnouncePeerRequest,
  type AnnouncePeerResponse__Output,
  createHealthClient,
  createSchedulerClient,
  type Download,
  type Download__Output,
  type DownloadTaskResponse,
  type Host as HostMessage,
  implementService,
  type RpcDuplex,
  type RpcError,
  type SchedulerClient,
  serveRpc,
  status,
} from "@damselfly/rpc";
import { createTestAuthority } from "@damselfly/rpc/testing";
import type { TlsIdentity } from "@damselfly/transport";
import { afterEach, describe, expect, it } from "vitest";
import { type SchedulerServer, serveScheduler, type ServeSchedulerOptions } from "./index.ts";

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function keep<T extends AsyncDisposable>(resource: T): T {
  opened.push(resource);
  return resource;
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

async function open(options: Partial<ServeSchedulerOptions> = {}): Promise<SchedulerServer> {
  return keep(
    await serveScheduler({
      address: { ip: "127.0.0.1", port: 0 },
      logger: silent,
      ...options,
      config: { tickMs: 5, pushIntervalMs: 10, ...options.config },
    }),
  );
}

function connect(server: SchedulerServer, tls?: TlsIdentity): SchedulerClient {
  return keep(createSchedulerClient(server.address, { tls }));
}

const FILE: Download = {
  url: "http://user:secret@origin/file?signature=secret",
  requestHeader: { authorization: "Bearer secret" },
  actualContentLength: 8 << 20,
  actualPieceLength: 4 << 20,
  actualPieceCount: 2,
};

/** A daemon as the scheduler sees it. */
class Daemon {
  readonly client: SchedulerClient;
  readonly hostId: string;

  constructor(client: SchedulerClient, hostId: string) {
    this.client = client;
    this.hostId = hostId;
  }

  async announce(facts: HostMessage = {}): Promise<this> {
    const hostname = this.hostId;
    const host = {
      id: hostname,
      hostname,
      ip: "127.0.0.1",
      port: 4000,
      downloadPort: 4000,
      ...facts,
    };
    await this.client.announceHost({ host, interval: { seconds: 300 } });
    return this;
  }

  async register(
    options: { readonly download?: Download; readonly task?: string } = {},
  ): Promise<Conversation> {
    const call = keep(this.client.announcePeer());
    const ids = {
      hostId: this.hostId,
      taskId: options.task ?? "task",
      peerId: `${this.hostId}-peer`,
    };
    const conversation = new Conversation(call, ids);
    await conversation.say({
      registerPeerRequest: {
        download: { ...FILE, ...options.download },
        extension: { version: 1 },
      },
    });
    return conversation;
  }
}

type Call = RpcDuplex<AnnouncePeerRequest, AnnouncePeerResponse__Output>;

class Conversation {
  readonly call: Call;
  readonly #ids: AnnouncePeerRequest;
  readonly #answers: AsyncIterator<AnnouncePeerResponse__Output>;

  constructor(call: Call, ids: AnnouncePeerRequest) {
    this.call = call;
    this.#ids = ids;
    this.#answers = call[Symbol.asyncIterator]();
  }

  async say(message: AnnouncePeerRequest): Promise<void> {
    await this.call.write({ ...this.#ids, ...message });
  }

  /** The next message; undefined: the stream has ended well. */
  async hear(): Promise<AnnouncePeerResponse__Output | undefined> {
    const next = await this.#answers.next();
    return next.done === true ? undefined : next.value;
  }

  /** The name of the next message. */
  async hearKind(): Promise<string | undefined> {
    return (await this.hear())?.response;
  }

  async originPiece(number: number): Promise<void> {
    const piece = {
      number,
      offset: number * (4 << 20),
      length: 4 << 20,
      digest: `crc32:${number}`,
      ...(number === 1 && { strongDigest: STRONG_DIGEST }),
      cost: { seconds: 0, nanos: 1 },
      createdAt: { seconds: 1 },
    };
    await this.say({ downloadPieceBackToSourceFinishedRequest: { piece } });
  }
}

const STRONG_DIGEST = `sha256:${"ab".repeat(32)}`;

describe("serveScheduler", () => {
  it("sends the first peer to the origin and hands it to the second, with its host and the digests", async () => {
    const client = connect(await open());
    const reader = await (await new Daemon(client, "a").announce()).register();
    expect(await reader.hear()).toMatchObject({ needBackToSourceResponse: { description: /./u } });
    await reader.say({ downloadPeerBackToSourceStartedRequest: {} });
    await reader.originPiece(1);
    await reader.originPiece(0);
    await expect
      .poll(async () => (await client.statTask({ hostId: "a", taskId: "task" })).pieces.length, {
        interval: 5,
        timeout: 20_000,
      })
      .toBe(2);
    const child = await (await new Daemon(client, "b").announce()).register();
    const [parent] = (await child.hear())?.normalTaskResponse?.candidateParents ?? [];
    expect(parent).toMatchObject({
      id: "a-peer",
      state: "BackToSource",
      host: { id: "a", ip: "127.0.0.1", port: 4000 },
      task: {
        id: "task",
        contentLength: 8 << 20,
        pieceCount: 2,
        state: "Running",
        pieces: [
          {
            number: 1,
            offset: 4 << 20,
            length: 4 << 20,
            digest: "crc32:1",
            strongDigest: STRONG_DIGEST,
          },
          { number: 0, offset: 0, length: 4 << 20, digest: "crc32:0", strongDigest: "" },
        ],
      },
    });
    expect(parent?.createdAt).not.toBeNull();
    expect(parent?.cost).not.toBeNull();
  });

  it("keeps the credentials of one user's request from everybody else", async () => {
    const client = connect(await open());
    const reader = await (await new Daemon(client, "a").announce()).register();
    await reader.hear();
    const child = await (await new Daemon(client, "b").announce()).register();
    const heard = [
      await child.hear(),
      await client.statTask({ hostId: "a", taskId: "task" }),
      await client.statPeer({ hostId: "a", taskId: "task", peerId: "a-peer" }),
    ];
    expect(JSON.stringify(heard)).not.toContain("secret");
    expect(JSON.stringify(heard)).toContain("http://origin/file");
  });

  it("tells a listening peer of another parent without being asked", async () => {
    const client = connect(await open());
    const reader = await (await new Daemon(client, "a").announce()).register();
    await reader.hear();
    await reader.say({ downloadPeerBackToSourceStartedRequest: {} });
    const first = await (await new Daemon(client, "b").announce()).register();
    await first.hear();
    await first.say({ downloadPeerStartedRequest: {} });
    const second = await (await new Daemon(client, "c").announce()).register();
    await second.hear();
    await second.say({ downloadPeerStartedRequest: {} });
    const parents = (await first.hear())?.normalTaskResponse?.candidateParents ?? [];
    expect(new Set(parents.map(({ id }) => id))).toEqual(new Set(["a-peer", "c-peer"]));
  });

  it.each([
    "downloadPeerFinishedRequest",
    "downloadPeerBackToSourceFinishedRequest",
    "downloadPeerFailedRequest",
    "downloadPeerBackToSourceFailedRequest",
  ])("ends the stream after %s", async (lastWord) => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce()).register();
    await peer.hear();
    await peer.say({ [lastWord]: {} });
    expect(await peer.hear()).toBeUndefined();
    const { state } = await client.statPeer({ hostId: "a", taskId: "task", peerId: "a-peer" });
    expect(state).toBe(lastWord.includes("Finished") ? "Succeeded" : "Failed");
  });

  it.each(["cancel", "end"] as const)(
    "passes the turn on when the reader's stream ends (%s)",
    async (how) => {
      const client = connect(await open());
      const reader = await (await new Daemon(client, "a").announce()).register();
      await reader.hear();
      const child = await (await new Daemon(client, "b").announce()).register();
      expect(await child.hearKind()).toBe("normalTaskResponse");
      reader.call[how]();
      expect(await child.hearKind()).toBe("needBackToSourceResponse");
    },
  );

  it("puts parents aside that a child names, and sends it to the origin when nobody is left", async () => {
    const client = connect(await open());
    const first = await (await new Daemon(client, "a").announce()).register();
    await first.hear();
    await first.say({ downloadPeerBackToSourceFinishedRequest: {} });
    await first.hear();
    const child = await (await new Daemon(client, "b").announce()).register();
    const candidateParents = (await child.hear())?.normalTaskResponse?.candidateParents ?? [];
    await child.say({ downloadPeerStartedRequest: {} });
    await child.say({
      downloadPieceFailedRequest: { parentId: "a-peer", pieceNumber: 0, temporary: true },
    });
    await child.say({ reschedulePeerRequest: { candidateParents, description: "no luck" } });
    expect(await child.hearKind()).toBe("needBackToSourceResponse");
    await child.say({ downloadPieceBackToSourceFailedRequest: { pieceNumber: 0 } });
    await child.say({ downloadPeerBackToSourceFailedRequest: {} });
    expect(await child.hear()).toBeUndefined();
  });

  it("counts the pieces of those who fetch from parents", async () => {
    const client = connect(await open());
    const reader = await (await new Daemon(client, "a").announce()).register();
    await reader.hear();
    const child = await (await new Daemon(client, "b").announce()).register();
    await child.hear();
    const piece = {
      number: 0,
      parentId: "a-peer",
      cost: { seconds: 0 },
      createdAt: { seconds: 1 },
    };
    await child.say({ downloadPieceFinishedRequest: { piece } });
    await child.say({ downloadPieceFinishedRequest: { piece: { ...piece, number: 1 } } });
    reader.call.cancel();
    const third = await (await new Daemon(client, "c").announce()).register();
    // It has both pieces: nobody needs to read the origin any more.
    expect(
      (await third.hear())?.normalTaskResponse?.candidateParents.map(({ id }) => id),
    ).toContain("b-peer");
  });

  it("says that an empty file is empty, and that metadata are enough", async () => {
    const client = connect(await open());
    const empty = await (
      await new Daemon(client, "a").announce()
    ).register({
      task: "empty",
      download: { actualContentLength: 0, actualPieceCount: 0 },
    });
    expect(await empty.hearKind()).toBe("emptyTaskResponse");
    const known = await (
      await new Daemon(client, "b").announce()
    ).register({ download: { metadataOnly: true } });
    expect(await known.hearKind()).toBe("metadataOnlyResponse");
  });

  it("knows no host that has not announced itself", async () => {
    const client = connect(await open());
    const peer = await new Daemon(client, "a").register();
    await expect(peer.hear()).rejects.toMatchObject({
      code: "NOT_FOUND",
      reason: "host a not found",
    });
  });

  it("ends every stream with UNAVAILABLE when it closes", async () => {
    const server = await open();
    const client = connect(server);
    const peer = await (await new Daemon(client, "a").announce()).register();
    await peer.hear();
    await server[Symbol.asyncDispose]();
    await expect(peer.hear()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("is healthy", async () => {
    const server = await open();
    const health = keep(createHealthClient(server.address));
    expect(await health.check({ service: "" })).toMatchObject({ status: "SERVING" });
    expect(await health.check({ service: "scheduler.v2.Scheduler" })).toMatchObject({
      status: "SERVING",
    });
  });
});

describe("the scheduler's lists", () => {
  it("lists hosts, all or of one type, and forgets them when told", async () => {
    const client = connect(await open());
    await new Daemon(client, "a").announce();
    await new Daemon(client, "s").announce({ type: 1 });
    const ids = async (type?: number): Promise<string[]> =>
      (await client.listHosts(type === undefined ? {} : { type })).hosts.map(({ id }) => id);
    expect([await ids(), await ids(1), await ids(0)]).toEqual([["a", "s"], ["s"], ["a"]]);
    await client.deleteHost({ hostId: "a" });
    expect(await ids()).toEqual(["s"]);
    await expect(client.deleteHost({ hostId: "a" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("makes as many lists in a second as it may, and refuses what does not fit into the next ones", async () => {
    const client = connect(await open());
    await new Daemon(client, "a").announce();
    const codes = await Promise.all(
      // Those that wait give up just before the next second begins.
      Array.from({ length: 65 }, () =>
        client.listHosts({}, { timeoutMs: 950 }).then(
          () => "OK",
          (error: RpcError) => error.code,
        ),
      ),
    );
    const count = (code: string): number => codes.filter((other) => other === code).length;
    expect([count("OK"), count("RESOURCE_EXHAUSTED")]).toEqual([10, 5]);
    expect(count("DEADLINE_EXCEEDED") + count("CANCELLED")).toBe(50);
    await new Daemon(client, "b").announce(); // others are answered
  });

  it("forgets peers and tasks when told", async () => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce()).register();
    await peer.hear();
    const ids = { hostId: "a", taskId: "task", peerId: "a-peer" };
    await expect(client.deletePeer({ ...ids, peerId: "nobody" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    await client.deletePeer(ids);
    await expect(peer.hear()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.statPeer(ids)).rejects.toMatchObject({
      code: "NOT_FOUND",
      reason: "peer a-peer not found",
    });
    const again = await new Daemon(client, "a").register();
    await again.hear();
    await client.deleteTask({ hostId: "a", taskId: "task" });
    expect(await client.statTask({ hostId: "a", taskId: "task" })).toMatchObject({
      peerCount: 0,
      hasAvailablePeer: false,
    });
    await expect(client.statTask({ hostId: "a", taskId: "other" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("shows a peer only to who knows its host", async () => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce()).register();
    await peer.hear();
    await expect(
      client.statPeer({ hostId: "b", taskId: "task", peerId: "a-peer" }),
    ).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("two daemons with one host id", () => {
  it("are probed a few at a time: further ones count as living", async () => {
    const client = connect(await open({ limits: { probeCountMax: 0 } }));
    await new Daemon(client, "a").announce({ port: 1024 });
    await expect(new Daemon(client, "a").announce({ port: 4001 })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    });
  });

  it("are told apart: the second is refused while the first one listens", async () => {
    const client = connect(await open());
    const first = keep(await serveRpc({ address: { ip: "127.0.0.1", port: 0 }, services: [] }));
    if (!("ip" in first.address)) throw new Error("not on TCP");
    await new Daemon(client, "a").announce({ port: first.address.port });
    await expect(new Daemon(client, "a").announce({ port: 4001 })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      reason: expect.stringContaining("two daemons on one machine need different hostnames"),
    });
  });

  it("are told apart: the second is refused while the first one talks", async () => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce({ port: 1024 })).register();
    await peer.hear();
    await expect(new Daemon(client, "a").announce()).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
    });
  });

  it("are one that was started again when nobody listens at the first one's address", async () => {
    const client = connect(await open());
    const first = await serveRpc({ address: { ip: "127.0.0.1", port: 0 }, services: [] });
    if (!("ip" in first.address)) throw new Error("not on TCP");
    await new Daemon(client, "a").announce({ port: first.address.port });
    await first[Symbol.asyncDispose]();
    await new Daemon(client, "a").announce({ port: 4001 });
    expect((await client.listHosts({})).hosts.map(({ port }) => port)).toEqual([4001]);
  });
});

// oxlint-disable-next-line require-yield -- it never comes to that
async function* refusing(
  reason: Error = new Error("no space"),
): AsyncGenerator<DownloadTaskResponse> {
  throw reason;
}

describe("seeds over the network", () => {
  /** A seed daemon; what it answers is up to the test. */
  async function openSeed(
    client: SchedulerClient,
    answer: (download: Download__Output, seed: Daemon) => AsyncIterable<DownloadTaskResponse>,
    options: { readonly tls?: TlsIdentity; readonly extension?: HostMessage["extension"] } = {},
  ): Promise<void> {
    const { tls, extension = null } = options;
    const seed = new Daemon(client, "seed");
    const server = keep(
      await serveRpc({
        address: { ip: "127.0.0.1", port: 0 },
        tls,
        services: [
          implementService("dfdaemon.v2.DfdaemonUpload", {
            downloadTask: ({ download }) => {
              if (download === null) throw new Error("no download");
              return answer(download, seed);
            },
          }),
        ],
        graceMs: 0,
      }),
    );
    if (!("ip" in server.address)) throw new Error("not on TCP");
    await seed.announce({ type: 1, port: server.address.port, extension });
  }

  it("are asked for as many tasks at once as may be; peers of further ones read the origin", async () => {
    const client = connect(await open({ limits: { seedCallCountMax: 1 } }));
    let count = 0;
    // oxlint-disable-next-line require-yield -- it says nothing
    await openSeed(client, async function* () {
      count += 1;
      await new Promise(() => {});
    });
    const daemon = await new Daemon(client, "a").announce();
    await daemon.register({ task: "first" });
    await expect.poll(() => count, { interval: 5, timeout: 20_000 }).toBe(1);
    for (const task of ["second", "third"]) {
      const peer = await daemon.register({ task });
      expect(await peer.hearKind()).toBe("needBackToSourceResponse");
    }
    expect(count).toBe(1);
  });

  it("are asked with what the first peer knows, and their peer reads the origin", async () => {
    const client = connect(await open());
    const asked: Download__Output[] = [];
    await openSeed(client, async function* (download, seed) {
      asked.push(download);
      const peer = await seed.register({ download: { needBackToSource: true } });
      expect(await peer.hearKind()).toBe("needBackToSourceResponse");
      await peer.say({ downloadPeerBackToSourceStartedRequest: {} });
      yield { hostId: "seed", taskId: "task", peerId: "seed-peer" };
      await peer.hear();
    });
    const child = await (
      await new Daemon(client, "a").announce()
    ).register({ download: { outputPath: "/tmp/x" } });
    const parents = (await child.hear())?.normalTaskResponse?.candidateParents ?? [];
    expect(parents.map(({ id }) => id)).toEqual(["seed-peer"]);
    expect(asked).toMatchObject([
      { url: FILE.url, needBackToSource: true, requestHeader: FILE.requestHeader },
    ]);
    expect(asked[0]?.outputPath).toBeUndefined();
  });

  it("that have read the file say what its pieces are before anybody else is named who says that he has it", async () => {
    const client = connect(await open());
    const asked: Download__Output[] = [];
    const extension = { version: 1, plainPeers: true };
    const liar = await new Daemon(client, "liar").announce({ extension });
    const holder = await liar.register({ download: { metadataOnly: true } });
    expect(await holder.hearKind()).toBe("metadataOnlyResponse");
    await openSeed(
      client,
      async function* (download, seed) {
        asked.push(download);
        const peer = await seed.register({ download: { metadataOnly: true } });
        const at = { cost: { seconds: 0, nanos: 1 }, createdAt: { seconds: 1, nanos: 0 } };
        const piece = { number: 1, offset: 4 << 20, length: 4 << 20, digest: "crc32:7", ...at };
        await peer.say({
          downloadPieceFinishedRequest: { piece: { ...piece, trafficType: "BACK_TO_SOURCE" } },
        });
        await peer.say({ downloadPeerStartedRequest: {} });
        await peer.say({ downloadPeerFinishedRequest: {} });
        await peer.hear();
        yield {
          hostId: "seed",
          taskId: "task",
          peerId: "seed-peer",
          downloadTaskStartedResponse: { contentLength: 8 << 20, isFinished: true },
        };
      },
      { extension },
    );
    const daemon = await new Daemon(client, "a").announce({ extension });
    const child = await daemon.register();
    const digests: string[] = [];
    let names: string[] = [];
    while (!names.includes("liar-peer")) {
      const parents = (await child.hear())?.normalTaskResponse?.candidateParents ?? [];
      names = parents.map(({ id }) => id);
      for (const { task } of parents)
        digests.push(...(task?.pieces ?? []).map(({ digest }) => digest));
    }
    expect([names.toSorted(), digests]).toEqual([["liar-peer", "seed-peer"], ["crc32:7"]]);
    expect(asked).toMatchObject([{ metadataOnly: true, needBackToSource: false }]);
  });

  it("that have not got the file say so, which is no failure, and who has it is named", async () => {
    const warnings: string[] = [];
    const logger = {
      ...silent,
      warn: (_: unknown, message: string) => void warnings.push(message),
    };
    const client = connect(await open({ logger }));
    const extension = { version: 1, plainPeers: true };
    const holder = await new Daemon(client, "holder").announce({ extension });
    const held = await holder.register({ download: { metadataOnly: true } });
    expect(await held.hearKind()).toBe("metadataOnlyResponse");
    const asked: boolean[] = [];
    await openSeed(
      client,
      (download) => {
        asked.push(download.metadataOnly);
        return refusing(status("NOT_FOUND", "Cannot say what it is: it is not here"));
      },
      { extension },
    );
    const child = await (await new Daemon(client, "a").announce({ extension })).register();
    const parents = (await child.hear())?.normalTaskResponse?.candidateParents ?? [];
    expect(parents.map(({ id }) => id)).toEqual(["holder-peer"]);
    expect(asked).toEqual([true]);
    expect(warnings).toEqual([]);
  });

  it("need not register when they have the file", async () => {
    const client = connect(await open());
    await openSeed(client, async function* () {
      yield {
        hostId: "seed",
        taskId: "task",
        peerId: "seed-peer",
        downloadTaskStartedResponse: { contentLength: 8 << 20, isFinished: true },
      };
    });
    const child = await (await new Daemon(client, "a").announce()).register();
    const parents = (await child.hear())?.normalTaskResponse?.candidateParents ?? [];
    expect(parents).toMatchObject([{ id: "seed-peer", state: "Succeeded", host: { id: "seed" } }]);
  });

  it.each([
    ["refuse", () => refusing()],
    ["say nothing", async function* (): AsyncGenerator<DownloadTaskResponse> {}],
    [
      "mean another task",
      async function* (): AsyncGenerator<DownloadTaskResponse> {
        yield { taskId: "another", peerId: "x" };
      },
    ],
  ] as const)("are passed over when they %s", async (_, answer) => {
    const client = connect(await open());
    await openSeed(client, answer);
    const child = await (await new Daemon(client, "a").announce()).register();
    expect(await child.hearKind()).toBe("needBackToSourceResponse");
  });

  it("are passed over when they are not there", async () => {
    const client = connect(await open());
    await new Daemon(client, "seed").announce({ type: 1, port: 1024 });
    const child = await (await new Daemon(client, "a").announce()).register();
    expect(await child.hearKind()).toBe("needBackToSourceResponse");
  });

  it("are passed over when they do not register in time, and are told to stop", async () => {
    const client = connect(await open({ config: { seedRegistrationMs: 50 } }));
    let stopped = (): void => {};
    const wasStopped = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    await openSeed(client, async function* () {
      try {
        yield { taskId: "task", peerId: "seed-peer" };
        for (;;) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          yield { taskId: "task", peerId: "seed-peer" };
        }
      } finally {
        stopped();
      }
    });
    const child = await (await new Daemon(client, "a").announce()).register();
    expect(await child.hearKind()).toBe("needBackToSourceResponse");
    await wasStopped;
  });

  it("are called over TLS, and only if they are who they announced to be", async () => {
    const authority = await createTestAuthority();
    const [tls, seedIdentity, impostor] = await Promise.all([
      authority.issue({ dnsNames: ["d7y", "a", "seed"] }),
      authority.issue({ dnsNames: ["d7y", "seed"] }),
      authority.issue({ dnsNames: ["d7y", "other"] }),
    ]);
    for (const [identity, expected] of [
      [seedIdentity, "normalTaskResponse"],
      [impostor, "needBackToSourceResponse"],
    ] as const) {
      const client = connect(await open({ tls, seedTls: tls }), tls);
      await openSeed(
        client,
        async function* () {
          yield {
            taskId: "task",
            peerId: "seed-peer",
            downloadTaskStartedResponse: { isFinished: true },
          };
        },
        { tls: identity },
      );
      const child = await (await new Daemon(client, "a").announce()).register();
      expect(await child.hearKind()).toBe(expected);
    }
  });
});

describe("a scheduler with TLS", () => {
  it("takes a host from who has a certificate for it, and from nobody else", async () => {
    const authority = await createTestAuthority();
    const [own, a, unnamed] = await Promise.all([
      authority.issue(),
      authority.issue({ dnsNames: ["d7y", "a"] }),
      authority.issue({ dnsNames: [], ips: [] }),
    ]);
    const server = await open({ tls: own });
    const client = connect(server, a);
    const peer = await (await new Daemon(client, "a").announce()).register();
    expect(await peer.hearKind()).toBe("needBackToSourceResponse");
    await expect(new Daemon(client, "b").announce()).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      reason: "Cannot accept host b: the certificate names DNS:d7y, DNS:a, IP Address:127.0.0.1",
    });
    await expect(new Daemon(connect(server, unnamed), "a").announce()).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  it("takes the id of a host from nobody but who is named in it", async () => {
    const authority = await createTestAuthority();
    const [own, victim, mallory] = await Promise.all([
      authority.issue(),
      authority.issue({ dnsNames: ["d7y", "victim"] }),
      authority.issue({ dnsNames: ["d7y", "mallory"] }),
    ]);
    const server = await open({ tls: own });
    const id = "127.0.0.1-victim-seed";
    const announce = (identity: typeof own, facts: HostMessage) =>
      new Daemon(connect(server, identity), id).announce({ id, ...facts });
    await announce(victim, { hostname: "victim" });
    // The name of a certificate of its own, and that which is in every node's.
    for (const hostname of ["mallory", "d7y"]) {
      await expect(announce(mallory, { hostname })).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
        reason: `Cannot accept host ${id}: that is no id of a host named ${hostname}`,
      });
    }
    await announce(victim, { hostname: "victim" });
  });

  it("lets nobody speak for another's host", async () => {
    const authority = await createTestAuthority();
    const [own, a, b] = await Promise.all([
      authority.issue(),
      authority.issue({ dnsNames: ["d7y", "a"] }),
      authority.issue({ dnsNames: ["d7y", "b"] }),
    ]);
    const server = await open({ tls: own });
    const peer = await (await new Daemon(connect(server, a), "a").announce()).register();
    await peer.hear();
    const client = connect(server, b);
    const ids = { hostId: "a", taskId: "task", peerId: "a-peer" };
    const denied = { code: "PERMISSION_DENIED" };
    await expect((await new Daemon(client, "a").register()).hear()).rejects.toMatchObject(denied);
    await expect(client.deletePeer(ids)).rejects.toMatchObject(denied);
    await expect(client.deleteTask(ids)).rejects.toMatchObject(denied);
    await expect(client.deleteHost(ids)).rejects.toMatchObject(denied);
  });

  it("takes nobody for a seed but those that security.seeds names, by their certificates", async () => {
    const authority = await createTestAuthority();
    const [own, named, other] = await Promise.all([
      authority.issue(),
      authority.issue({ dnsNames: ["d7y", "named"] }),
      authority.issue({ dnsNames: ["d7y", "other"] }),
    ]);
    const server = await open({ tls: own, plainPeers: true, seeds: ["named"] });
    const announce = async (hostname: string, type: number, identity?: typeof own) => {
      await new Daemon(connect(server, identity), hostname).announce({ type });
    };
    const refused = (hostname: string, why: string) => ({
      code: "PERMISSION_DENIED",
      reason: `Cannot accept host ${hostname} as a seed: ${why}`,
    });
    const unnamed = refused("other", "security.seeds of the scheduler does not name it");
    await expect(announce("other", 1, other)).rejects.toMatchObject(unnamed);
    await expect(announce("other", 3, other)).rejects.toMatchObject(unnamed);
    const plain =
      "it shows no certificate, and those that security.seeds of the scheduler names must";
    await expect(announce("named", 1)).rejects.toMatchObject(refused("named", plain));
    await announce("named", 1, named);
    await announce("other", 0, other);
    const { hosts } = await connect(server, own).listHosts({});
    const types = Object.fromEntries(hosts.map(({ hostname, type }) => [hostname, type]));
    expect(types).toEqual({ named: 1, other: 0 });
  });

  it("takes no call without a certificate from its authority", async () => {
    const [authority, other] = await Promise.all([createTestAuthority(), createTestAuthority()]);
    const server = await open({ tls: await authority.issue() });
    await expect(connect(server).listHosts({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(connect(server, await other.issue()).listHosts({})).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });
});

describe("messages that break a rule", () => {
  const piece = { number: 0, cost: { seconds: 0 }, createdAt: { seconds: 1 } };
  const host = { id: "x", hostname: "x", ip: "127.0.0.1", port: 4000, downloadPort: 4000 };

  it.each<[string, AnnouncePeerRequest]>([
    ["nothing to say", {}],
    ["empty ids", { hostId: "", downloadPeerStartedRequest: {} }],
    ["an endless id", { hostId: "a".repeat(1_025), downloadPeerStartedRequest: {} }],
    ["a second registration", { registerPeerRequest: { download: FILE } }],
    ["no piece", { downloadPieceFinishedRequest: {} }],
    [
      "a piece without its cost",
      { downloadPieceFinishedRequest: { piece: { ...piece, cost: null } } },
    ],
    [
      "a piece without its time",
      { downloadPieceFinishedRequest: { piece: { ...piece, createdAt: null } } },
    ],
    [
      "a piece with an odd digest",
      { downloadPieceBackToSourceFinishedRequest: { piece: { ...piece, digest: "crc32" } } },
    ],
    [
      "a piece with an odd strong digest",
      { downloadPieceBackToSourceFinishedRequest: { piece: { ...piece, strongDigest: "x" } } },
    ],
    [
      "a piece from nobody",
      { downloadPieceFinishedRequest: { piece: { ...piece, parentId: "" } } },
    ],
    [
      "a piece without the content it says it has",
      { downloadPieceFinishedRequest: { piece: { ...piece, content: new Uint8Array() } } },
    ],
    ["a failed piece from nobody", { downloadPieceFailedRequest: {} }],
    [
      "a candidate without a host",
      {
        reschedulePeerRequest: {
          candidateParents: [
            { id: "x", state: "Running", cost: {}, task: {}, createdAt: {}, updatedAt: {} },
          ],
        },
      },
    ],
    [
      "a candidate without a state",
      { reschedulePeerRequest: { candidateParents: [{ id: "x", host }] } },
    ],
  ])("end a stream: %s", async (_, message) => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce()).register();
    await peer.hear();
    await peer.say(message);
    await expect(peer.hear()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("end a stream: a report of a peer that is not this stream's", async () => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce()).register();
    await peer.hear();
    await peer.say({ peerId: "other", downloadPeerStartedRequest: {} });
    await expect(peer.hear()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it.each<[string, Download]>([
    ["no URL", { url: "file" }],
    ["an endless URL", { url: `http://o/${"a".repeat(70_000)}` }],
    ["an odd digest", { digest: "sha256" }],
    ["a short piece", { pieceLength: 4_194_303 }],
    ["a long piece", { pieceLength: 67_108_865 }],
    ["an output without a path", { outputPath: "" }],
    ["an odd address", { remoteIp: "localhost" }],
    ["an empty key", { objectStorage: { accessKeyId: "" } }],
    ["a hub without a revision", { huggingFace: { revision: "" } }],
    ["an odd hub", { modelScope: { revision: "main", baseUrl: "hub" } }],
    ["a length beyond counting", { actualContentLength: 2 ** 60 }],
  ])("refuse a registration: %s", async (_, download) => {
    const client = connect(await open());
    const peer = await (await new Daemon(client, "a").announce()).register({ download });
    await expect(peer.hear()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("refuse a registration: no download at all", async () => {
    const client = connect(await open());
    await new Daemon(client, "a").announce();
    const call = keep(client.announcePeer());
    await call.write({ hostId: "a", taskId: "t", peerId: "p", registerPeerRequest: {} });
    await expect(call[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it.each<[string, HostMessage]>([
    ["no id", { id: "" }],
    ["no hostname", { hostname: "" }],
    ["an odd type", { type: 4 }],
    ["an odd ip", { ip: "here" }],
    ["no port", { port: 0 }],
    ["a reserved port", { downloadPort: 80 }],
    ["a negative load", { cpu: { percent: -1 } }],
    ["more memory than there is", { memory: { usedPercent: 101 } }],
    ["a disk that is no number", { disk: { usedPercent: Number.NaN } }],
  ])("refuse a host: %s", async (_, facts) => {
    const client = connect(await open());
    await expect(new Daemon(client, "a").announce(facts)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it("refuse a host: none, or an interval before now", async () => {
    const client = connect(await open());
    await expect(client.announceHost({})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(client.announceHost({ host, interval: { seconds: -1 } })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});
