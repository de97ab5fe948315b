import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http2";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import {
  implementService,
  serveRpc,
  type RpcServer,
  type SyncPiecesResponse,
} from "@damselfly/rpc";
import { createTestAuthority, type TestAuthority } from "@damselfly/rpc/testing";
import type { TlsIdentity } from "@damselfly/transport";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import { DragonflyParent } from "../testing/dragonfly-parent.ts";
import type { ParentEvent } from "./parent-channel.ts";
import { RpcParentChannel, type RpcParentChannelOptions } from "./rpc-parent-channel.ts";
import { UploadClients } from "./upload-clients.ts";

const TASK_ID = "a".repeat(64);
const CONTENT = Buffer.alloc(45, "dragonfly");
const LOOPBACK = "127.0.0.1";

let authority: TestAuthority;
const opened: AsyncDisposable[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
});

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

function keep<T extends AsyncDisposable>(resource: T): T {
  opened.push(resource);
  return resource;
}

async function openDragonfly(
  options: { readonly complete?: boolean; readonly tls?: TlsIdentity } = {},
): Promise<DragonflyParent> {
  const parent = keep(await DragonflyParent.open(options));
  const task = { taskId: TASK_ID, content: CONTENT, pieceLength: 10 };
  parent.hold({ ...task, complete: options.complete ?? false });
  return parent;
}

function openChannel(
  options: {
    readonly tls?: TlsIdentity;
    readonly plainPeers?: boolean;
  } & Partial<Pick<RpcParentChannelOptions, "silenceMs" | "quinnKey">> = {},
): RpcParentChannel {
  const { tls, plainPeers = tls === undefined, silenceMs = 60_000, quinnKey } = options;
  return new RpcParentChannel({
    clients: keep(new UploadClients({ tls, plainPeers })),
    hostId: `${LOOPBACK}-child`,
    policy: { tls: tls !== undefined, plainPeers },
    silenceMs,
    quinnKey,
  });
}

function candidate({ port }: { readonly port: number }, hostname = "them"): CandidateParent {
  const hostId = `${LOOPBACK}-${hostname}`;
  return { peerId: "p", hostId, hostname, ip: LOOPBACK, port, digests: new Map() };
}

function sync(
  channel: RpcParentChannel,
  parent: CandidateParent,
  options: { readonly pieceNumbers?: readonly number[]; readonly signal?: AbortSignal } = {},
): AsyncIterable<ParentEvent> {
  return channel.syncPieces(parent, {
    taskId: TASK_ID,
    pieceNumbers: options.pieceNumbers ?? [0, 1, 2, 3, 4],
    contentVersion: "v1",
    sourceDigest: "",
    signal: options.signal ?? new AbortController().signal,
  });
}

async function collect(events: AsyncIterable<ParentEvent>): Promise<ParentEvent[]> {
  const all: ParentEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

function numbersOf(events: readonly ParentEvent[]): number[] {
  return events.flatMap((event) => (event.kind === "piece" ? [event.number] : []));
}

describe("a parent of Dragonfly's", () => {
  it("is fetched from over plain TCP, at the port it names with its pieces", async () => {
    const dragonfly = await openDragonfly({ complete: true });
    const events = await collect(sync(openChannel(), candidate(dragonfly)));
    expect(events[0]).toEqual({
      kind: "address",
      address: {
        hostId: `${LOOPBACK}-them`,
        hostname: "them",
        ip: LOOPBACK,
        ports: { tcp: dragonfly.tcpPort },
        plain: true,
      },
    });
    expect(events[1]).toEqual({ kind: "piece", number: 0, offset: 0, length: 10 });
    expect(events.at(-1)).toEqual({ kind: "piece", number: 4, offset: 40, length: 5 });
    expect(dragonfly.syncRequests).toHaveLength(1);
  });

  it("is tried at its gRPC port when it names no other, as Dragonfly's children do", async () => {
    const dragonfly = await openDragonfly({ complete: true });
    dragonfly.quirks.hidesTcpPort = true;
    const [first] = await collect(sync(openChannel(), candidate(dragonfly)));
    expect(first).toMatchObject({ address: { ports: { tcp: dragonfly.port } } });
  });

  it("tells its pieces as they come", async () => {
    const dragonfly = await openDragonfly();
    const numbers: number[] = [];
    dragonfly.add(TASK_ID, 3);
    for await (const event of sync(openChannel(), candidate(dragonfly))) {
      if (event.kind !== "piece") continue;
      numbers.push(event.number);
      const next = [0, 1, 2, 4][numbers.length - 1];
      if (next !== undefined) dragonfly.add(TASK_ID, next);
    }
    expect(numbers).toEqual([3, 0, 1, 2, 4]);
  });

  it("is asked for the rest when its stream has ended early, and no more when that brings nothing", async () => {
    const dragonfly = await openDragonfly({ complete: true });
    dragonfly.quirks.streamLengthMax = 2;
    const events = await collect(sync(openChannel(), candidate(dragonfly)));
    expect(numbersOf(events)).toEqual([0, 1, 2, 3, 4]);
    expect(dragonfly.syncRequests.map((request) => request.interestedPieceNumbers)).toEqual([
      [0, 1, 2, 3, 4],
      [2, 3, 4],
      [4],
    ]);
    dragonfly.syncRequests.length = 0;
    const tooMany = sync(openChannel(), candidate(dragonfly), { pieceNumbers: [3, 4, 5, 6] });
    expect(numbersOf(await collect(tooMany))).toEqual([3, 4]);
    expect(dragonfly.syncRequests).toHaveLength(2);
  });

  it("is listened to no longer when it says nothing for too long", async () => {
    const dragonfly = await openDragonfly();
    dragonfly.add(TASK_ID, 1);
    dragonfly.fail(TASK_ID); // streams that run never hear of it
    const channel = openChannel({ silenceMs: 2_000 });
    await expect(collect(sync(channel, candidate(dragonfly)))).rejects.toMatchObject({
      code: "ERR_PARENT",
      message: expect.stringContaining(`task ${TASK_ID} failed`),
    });
    dragonfly.hold({ taskId: TASK_ID, content: CONTENT, pieceLength: 10 });
    dragonfly.add(TASK_ID, 1);
    expect(numbersOf(await collect(sync(channel, candidate(dragonfly))))).toEqual([1]);
  });

  it("throws the reason of a download that ends meanwhile", async () => {
    const dragonfly = await openDragonfly();
    const controller = new AbortController();
    const reason = new Error("enough");
    dragonfly.add(TASK_ID, 0);
    const events = sync(openChannel(), candidate(dragonfly), { signal: controller.signal });
    const listening = (async () => {
      for await (const event of events) if (event.kind === "piece") controller.abort(reason);
    })();
    await expect(listening).rejects.toBe(reason);
  });

  it("hears no time limit that its server would keep", async () => {
    const headers: IncomingHttpHeaders[] = [];
    const server = createServer().on("stream", (stream, received) => {
      headers.push(received);
      stream.respond(
        { ":status": 200, "content-type": "application/grpc", "grpc-status": "13" },
        { endStream: true },
      );
    });
    server.listen(0, LOOPBACK);
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new TypeError("expected a port");
    await expect(collect(sync(openChannel(), candidate(address)))).rejects.toThrow();
    server.close();
    expect(headers).toHaveLength(1);
    expect(headers[0]).toMatchObject({ ":path": "/dfdaemon.v2.DfdaemonUpload/SyncPieces" });
    expect(headers[0]).not.toHaveProperty("grpc-timeout");
  });
});

describe("with certificates", () => {
  it("a plain parent is refused, and the setting that would let it in is named", async () => {
    const dragonfly = await openDragonfly({ complete: true });
    const channel = openChannel({ tls: await authority.issue() });
    await expect(collect(sync(channel, candidate(dragonfly)))).rejects.toMatchObject({
      code: "ERR_PARENT",
      message: `Cannot use parent ${LOOPBACK}-them: it speaks without TLS, as Dragonfly's daemons do, and security.plainPeers is false`,
    });
    expect(dragonfly.syncRequests).toEqual([]);
  });

  it("a parent of Dragonfly's is refused even if its gRPC has a certificate: its pieces come without TLS", async () => {
    const tls = await authority.issue({ dnsNames: ["them"] });
    const dragonfly = await openDragonfly({ complete: true, tls });
    const ours = await authority.issue();
    await expect(collect(sync(openChannel({ tls: ours }), candidate(dragonfly)))).rejects.toThrow(
      /one of Dragonfly's, whose pieces come without TLS.*plainPeers is false/,
    );
    const open = openChannel({ tls: ours, plainPeers: true });
    expect(await collect(sync(open, candidate(dragonfly)))).toHaveLength(6);
  });

  it("a plain parent is taken where plainPeers allows it, and hears none of our keys", async () => {
    const dragonfly = await openDragonfly({ complete: true });
    const tls = await authority.issue();
    const channel = openChannel({ tls, plainPeers: true, quinnKey: Buffer.from("key") });
    const [first] = await collect(sync(channel, candidate(dragonfly)));
    expect(first).toMatchObject({ address: { ports: { tcp: dragonfly.tcpPort }, plain: true } });
    expect(dragonfly.syncRequests[0]?.extension?.quinnKey).toHaveLength(0);
  });

  it("our own kind is spoken to with TLS though plain would do, and never plain again", async () => {
    const server = await serveOurs(await authority.issue({ dnsNames: ["d7y", "them"] }));
    const { port } = server.address;
    const tls = await authority.issue();
    const channel = openChannel({ tls, plainPeers: true });
    const [first] = await collect(sync(channel, candidate({ port })));
    expect(first).toMatchObject({ address: { ports: { grpc: 1, tcp: 2 } } });
    expect(first).not.toHaveProperty("address.plain");
    await server[Symbol.asyncDispose]();
    // An impostor, which has no certificate to show.
    const impostor = await serveOurs(undefined, port);
    await expect(collect(sync(channel, candidate(impostor.address)))).rejects.toThrow(
      /has shown a certificate before and speaks without TLS now/,
    );
  });

  it("one of our own kind that hung up when it was first met is reached with TLS at the next contact", async () => {
    const leaving = createTcpServer((socket) => socket.destroy());
    leaving.listen(0, LOOPBACK);
    await once(leaving, "listening");
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
    const { port } = leaving.address() as AddressInfo;
    const channel = openChannel({ tls: await authority.issue(), plainPeers: true });
    await expect(collect(sync(channel, candidate({ port })))).rejects.toThrow(/Cannot learn/);
    leaving.close();
    await once(leaving, "close");
    await serveOurs(await authority.issue({ dnsNames: ["d7y", "them"] }), port);
    const [first] = await collect(sync(channel, candidate({ port })));
    expect(first).toMatchObject({ address: { ports: { grpc: 1, tcp: 2 } } });
  });

  it("of our own kind without a certificate only plain TCP is used", async () => {
    const server = await serveOurs(undefined);
    const channel = openChannel({ tls: await authority.issue(), plainPeers: true });
    const [first] = await collect(sync(channel, candidate(server.address)));
    expect(first).toMatchObject({ address: { ports: { tcp: 2 }, plain: true } });
  });
});

describe("a parent of our own kind", () => {
  it("is refused when it has another version of the file", async () => {
    const server = await serveOurs(undefined, 0, "v2");
    await expect(collect(sync(openChannel(), candidate(server.address)))).rejects.toThrow(
      /has another version of the file/,
    );
  });

  it("that is being stopped says so last, and nothing after it is listened to", async () => {
    const server = await serveOurs(undefined, 0, "v1", [
      { number: 0, offset: 0, length: 10, ip: LOOPBACK },
      { ip: LOOPBACK, extension: { version: 1, leaving: true } },
      { number: 1, offset: 10, length: 10, ip: LOOPBACK },
    ]);
    const events = await collect(sync(openChannel(), candidate(server.address)));
    expect(events.map(({ kind }) => kind)).toEqual(["address", "piece", "leaving"]);
  });

  it("that is gone is called so, without a word about TLS", async () => {
    const server = await serveOurs(undefined);
    await server[Symbol.asyncDispose]();
    const channel = openChannel({ tls: await authority.issue() });
    await expect(collect(sync(channel, candidate(server.address)))).rejects.toThrow(
      /^Cannot learn what 127\.0\.0\.1-them has: /,
    );
  });
});

async function serveOurs(
  tls: TlsIdentity | undefined,
  port = 0,
  contentVersion = "v1",
  more: readonly SyncPiecesResponse[] = [],
): Promise<RpcServer & { readonly address: { readonly ip: string; readonly port: number } }> {
  const transports = ["grpc", "tcp"].map((protocol, index) => ({
    protocol,
    ports: [index + 1],
    tls: tls !== undefined,
  }));
  const service = implementService("dfdaemon.v2.DfdaemonUpload", {
    async *syncPieces() {
      yield { ip: LOOPBACK, extension: { version: 1, contentVersion, transports } };
      yield* more;
    },
  });
  const address = { ip: LOOPBACK, port };
  const server = keep(await serveRpc({ address, services: [service], tls, graceMs: 100 }));
  if (!("ip" in server.address)) throw new TypeError("a port was asked for");
  return Object.assign(server, { address: server.address });
}
