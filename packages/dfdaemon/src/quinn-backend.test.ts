import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createIdentity, loadQuinn, openQuinnEndpoint, peerKeyOf } from "@damselfly/quinn";
import {
  createDfdaemonDownloadClient,
  createDfdaemonUploadClient,
  type DfdaemonUploadClient,
  type PeerExtension__Output,
} from "@damselfly/rpc";
import { ALPN } from "@damselfly/transport-quic";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openOriginServer, seededContent, type OriginServer } from "./testing/origin-server.ts";
import { openDaemonBench, type DaemonBench, type DaemonInTest } from "./testing/running-daemon.ts";

const PIECE_COUNT = 3;
const CONTENT = seededContent((PIECE_COUNT - 1) * 4 * 2 ** 20 + 100_003);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

let origin: OriginServer;
let bench: DaemonBench;
beforeAll(async () => {
  origin = await openOriginServer();
  bench = await openDaemonBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

/** Starts a parent with a scheduler, and a child of it. */
async function startPair(
  name: string,
  backends: { readonly parent: string; readonly child: string },
  options: { readonly tls: boolean },
): Promise<readonly [DaemonInTest, DaemonInTest]> {
  const settings = (backend: string): Record<string, unknown> => ({
    "storage.server.protocol": "quic",
    "storage.server.quic.backend": backend,
  });
  const parent = await bench.start(
    `parent-${name}`,
    { ...settings(backends.parent), "scheduler.embedded": true, "scheduler.port": 0 },
    options,
  );
  const { ip, port } = parent.schedulerAddress!;
  const child = await bench.start(
    `child-${name}`,
    { ...settings(backends.child), "scheduler.addrs": [`${ip}:${port}`] },
    options,
  );
  return [parent, child];
}

/** Downloads a file at one daemon after the other. Says from whom the last one has its pieces. */
async function passOn(daemons: readonly DaemonInTest[], name: string): Promise<string[]> {
  origin.set(`/${name}`, { content: CONTENT });
  let parents: string[] = [];
  for (const daemon of daemons) {
    const client = createDfdaemonDownloadClient(daemon);
    const outputPath = join(bench.directory, `${name}-${daemon.name}`);
    parents = [];
    for await (const response of client.downloadTask({
      download: { url: `${origin.url}/${name}`, outputPath },
    })) {
      const piece = response.downloadPieceFinishedResponse?.piece;
      if (piece) parents.push(piece.parentId ?? "");
    }
    await client[Symbol.asyncDispose]();
    expect(sha256(await readFile(outputPath))).toBe(sha256(CONTENT));
  }
  return parents;
}

describe.skipIf(!isLoadable())("daemons with storage.server.quic.backend", () => {
  it.each([
    ["quinn at both, with certificates", "quinn", "quinn", true],
    ["quinn at both, without certificates on one machine", "quinn", "quinn", false],
    ["quinn at the child alone", "auto", "quinn", true],
    ["quinn at the parent alone", "quinn", "auto", true],
    ["auto at both", "auto", "auto", true],
  ])("%s give each other pieces over QUIC", async (_, parentBackend, childBackend, tls) => {
    const name = `${parentBackend}-${childBackend}-${tls}`;
    const backends = { parent: parentBackend, child: childBackend };
    const [parent, child] = await startPair(name, backends, { tls });
    const parents = await passOn([parent, child], name);
    expect(parents).toEqual(Array.from({ length: PIECE_COUNT }, () => parent.hostId));
    expect(child.log.filter((line) => line.includes("does not get through"))).toEqual([]);
    await child.stop();
    await parent.stop();
  });

  it("quinn and quiche go on over gRPC", async () => {
    const backends = { parent: "quiche", child: "quinn" };
    const [parent, child] = await startPair("apart", backends, { tls: true });
    const parents = await passOn([parent, child], "apart");
    expect(parents).toEqual(Array.from({ length: PIECE_COUNT }, () => parent.hostId));
    await child.stop();
    await parent.stop();
  });

  it("quinn let in whom a trusted child's key names, and nobody else", async () => {
    const settings = { "storage.server.quic.backend": "quinn", "scheduler.embedded": true };
    const parent = await bench.start("keeper", settings, { tls: true });
    await passOn([parent], "kept");
    const download = createDfdaemonDownloadClient(parent);
    const [task] = (await download.listLocalTasks({})).tasks;
    await download[Symbol.asyncDispose]();
    const upload = createDfdaemonUploadClient(parent.upload, {
      tls: await bench.identity("visitor"),
      expectedHostname: "keeper",
    });
    const visitor = createIdentity();
    const request = { hostId: "127.0.0.1-visitor", taskId: task!.taskId };
    const { transports, quinnKey } = await introduction(upload, request, visitor.publicKey);
    const [port = 0] = transports.find(({ protocol }) => protocol === "quinn")?.ports ?? [];
    const dial = async (privateKey: Uint8Array): Promise<string> => {
      const address = { ip: "127.0.0.1", port: 0 };
      const endpoint = await openQuinnEndpoint({ address, alpn: ALPN, privateKey });
      try {
        const target = { ip: "127.0.0.1", port };
        const connection = await endpoint.dial(target, { peerKey: peerKeyOf(quinnKey) });
        const stream = connection.openStream();
        await stream.end(Buffer.from("no request"));
        await stream.read(new Uint8Array(1));
        return "served";
      } catch (error) {
        return error instanceof Error && "code" in error ? String(error.code) : String(error);
      } finally {
        await endpoint[Symbol.asyncDispose]();
      }
    };
    // Let in, and then told off for its words.
    expect(await dial(visitor.privateKey)).toMatch(/^ERR_STREAM_/);
    expect(await dial(createIdentity().privateKey)).toBe("ERR_UNTRUSTED");
    await upload[Symbol.asyncDispose]();
    await parent.stop();
  });
});

async function introduction(
  upload: DfdaemonUploadClient,
  request: { readonly hostId: string; readonly taskId: string },
  quinnKey: Uint8Array,
): Promise<PeerExtension__Output> {
  const extension = { version: 1, quinnKey };
  for await (const response of upload.syncPieces({ ...request, extension })) {
    if (response.extension !== null) return response.extension;
  }
  throw new Error("the parent did not introduce itself");
}

function isLoadable(): boolean {
  try {
    loadQuinn();
    return true;
  } catch (error) {
    console.warn(`skipped: ${String(error)}`);
    return false;
  }
}
