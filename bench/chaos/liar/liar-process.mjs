// A parent with a certificate of the cluster that lies, as a process of its own.
//
//   node liar-process.mjs START IP SCHEDULER_IP:PORT CERTIFICATES
//
// Told by messages: `{ lie: { id, how, url, taskId, file, version, length, contentVersion } }` has it say that it has that file and serve it
// as LIES has it, `{ truth: id }` has it leave. Answers every message with `{ done }`, and `{ asked: how }` goes out when somebody is lied to.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import {
  createSchedulerClient,
  durationFromMs,
  implementService,
  serveRpc,
  timestampFromDate,
} from "@damselfly/rpc";
import { serveGrpc } from "@damselfly/transport-grpc";
import { serveQuic } from "@damselfly/transport-quic";
import { serveTcp } from "@damselfly/transport-tcp";
import { createContent } from "../schedule/content.mjs";
import { createLyingSource, createOther, describePieces, PIECE_LENGTH } from "./lying-source.mjs";

const UPLOAD_PORT = 4000;
const ANNOUNCE_MS = 600_000;

const [start, ip, scheduler, certificates] = process.argv.slice(2);
const [schedulerIp, schedulerPort] = scheduler.split(":");
const read = (name) => readFileSync(join(certificates, name), "utf8");
const tls = { caCert: read("ca.pem"), cert: read("liar.pem"), key: read("liar-key.pem") };
const hostId = `${ip}-liar`;
/** By task id: what is said about it. */
const lies = new Map();

const source = createLyingSource({
  find: (taskId) => lies.get(taskId),
  signal: new AbortController().signal,
  onAsked: (how) => process.send({ asked: how }),
});
const transports = await servePieces();
await serveRpc({
  address: { ip, port: UPLOAD_PORT },
  services: [
    implementService("dfdaemon.v2.DfdaemonUpload", {
      async *syncPieces({ taskId }) {
        const lie = lies.get(taskId);
        if (lie === undefined) return;
        yield { ip, extension: { version: 1, transports, contentVersion: lie.contentVersion } };
        yield* lie.pieces;
      },
    }),
  ],
  tls,
});
process.on("message", (message) => {
  if (message.lie !== undefined) begin(message.lie);
  if (message.truth !== undefined) end(message.truth);
  process.send({ done: true });
});
process.on("disconnect", () => process.exit());
process.on("unhandledRejection", (error) => console.error(error));
process.send({ done: true });

async function servePieces() {
  const common = { source, tls, address: { ip, port: 0 } };
  const servers = [await serveGrpc(common), await serveTcp({ ...common, plain: false })];
  try {
    servers.push(await serveQuic(common));
  } catch (error) {
    if (error.code !== "ERR_QUIC_UNAVAILABLE") throw error;
  }
  return servers.map(({ protocol, address }) => ({ protocol, ports: [address.port], tls: true }));
}

function begin({ id, how, url, taskId, file, version, length, contentVersion }) {
  const content = createContent({ start, name: file, version, length });
  const other = createOther({ start, content });
  const stop = new AbortController();
  const pieces = describePieces(content);
  const lie = { id, how, content, other, contentVersion, pieces, url, taskId, stop };
  lies.set(taskId, lie);
  boast(lie).catch((error) => {
    if (!stop.signal.aborted) console.log(`nobody listens: ${error.message}`);
  });
}

function end(id) {
  for (const [taskId, lie] of lies) {
    if (lie.id !== id) continue;
    lies.delete(taskId);
    lie.stop.abort();
  }
}

/** Registers a peer that soon has the whole file, and tells digests: those are true. */
async function boast({ url, taskId, contentVersion, pieces, content, stop }) {
  const address = { ip: schedulerIp, port: Number(schedulerPort) };
  const client = createSchedulerClient(address, { tls });
  try {
    const extension = { version: 1, plainPeers: false };
    const ports = { port: UPLOAD_PORT, downloadPort: UPLOAD_PORT };
    const host = { id: hostId, hostname: "liar", ip, ...ports, extension };
    await client.announceHost({ host, interval: durationFromMs(ANNOUNCE_MS) });
    const ids = { hostId, taskId, peerId: `${hostId}-${randomUUID()}` };
    const peer = client.announcePeer({ signal: stop.signal });
    const say = (body) => peer.write({ ...ids, ...body });
    const download = {
      url,
      actualContentLength: content.length,
      actualPieceLength: PIECE_LENGTH,
      actualPieceCount: pieces.length,
    };
    await say({ registerPeerRequest: { download, extension: { version: 1, contentVersion } } });
    // The scheduler ends it after the last word: until then not everything has been heard.
    for await (const response of peer) {
      const told = Object.keys(response).filter((name) => response[name] !== null);
      console.log(`${url}: the scheduler says ${told.join()}`);
      for (const body of claimsAfter(response, pieces)) await say(body);
    }
    console.log(`${url}: the scheduler has heard it all`);
  } finally {
    await client[Symbol.asyncDispose]();
  }
}

/** What a peer says that has all the pieces a moment after it was told where to fetch them. */
function claimsAfter({ needBackToSourceResponse, normalTaskResponse }, pieces) {
  const facts = { cost: durationFromMs(1), createdAt: timestampFromDate(new Date()) };
  if (needBackToSourceResponse) {
    return [
      { downloadPeerBackToSourceStartedRequest: {} },
      ...pieces.map((piece) => ({
        downloadPieceBackToSourceFinishedRequest: { piece: { ...piece, ...facts } },
      })),
      { downloadPeerBackToSourceFinishedRequest: {} },
    ];
  }
  const [parent] = normalTaskResponse?.candidateParents ?? [];
  if (parent === undefined) return [];
  const from = { parentId: parent.id, trafficType: "REMOTE_PEER" };
  return [
    { downloadPeerStartedRequest: {} },
    ...pieces.map((piece) => ({
      downloadPieceFinishedRequest: { piece: { ...piece, ...facts, ...from } },
    })),
    { downloadPeerFinishedRequest: {} },
  ];
}
