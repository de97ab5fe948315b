// The two that are compared, behind one interface: nodes are started, files fetched and forgotten, and uploads counted alike.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { createDfdaemonDownloadClient } from "@damselfly/rpc";
import {
  download,
  issueCertificates,
  startDaemon,
  startScheduler,
} from "../../scripts/demo/cluster.mjs";
import {
  downloadTheirs,
  readMetrics,
  startTheirDaemon,
  startTheirScheduler,
} from "./their-processes.mjs";

/**
 * @typedef {object} Rival
 * @property {string} name
 * @property {(place: { ip?: string, prefix?: string[] }) => Promise<object>} startScheduler
 * @property {(options: object) => Promise<object>} startNode - gets `name`, `scheduler`, `seed`, `ip`, `prefix`
 * @property {(node: object, file: { url: string, output: string }) => { child: object, done: Promise<{ seconds: number }> }} fetch - by its own dfget
 * @property {(node: object) => Promise<number>} uploadedBytes - of pieces, since its start; of nodes outside of namespaces
 */

/** Ours: mutual TLS, and the transport that it chooses itself. @returns {Promise<Rival>} */
export async function openOurs({ directory, names, ips }) {
  const certificates = join(directory, "certificates");
  await issueCertificates(certificates, ["scheduler", ...names], [...new Set(ips)]);
  const home = { directory: join(directory, "ours"), certificates };
  return {
    name: "damselfly",
    startScheduler: (place) => startScheduler({ ...home, ...place }),
    startNode: (options) => startDaemon({ ...home, protocol: "auto", ...options }),
    fetch: download,
    uploadedBytes: async (node) => (await node.metrics()).uploaded,
  };
}

/** Dragonfly's: plain TCP, its default. @returns {Rival} */
export function openTheirs({ directory, programs }) {
  const home = { directory: join(directory, "theirs") };
  return {
    name: "dragonfly",
    startScheduler: (place) => startTheirScheduler(programs, { ...home, ...place }),
    startNode: (options) => startTheirDaemon(programs, { ...home, ...options }),
    fetch: (node, file) => downloadTheirs(programs, node, file),
    async uploadedBytes(node) {
      const [, bytes] = /^dragonfly_client_upload_traffic (\S+)/m.exec(readMetrics(node)) ?? [];
      return Number(bytes ?? 0);
    },
  };
}

/** Has a node drop a file, so that it must fetch it again. */
export async function forget({ socketPath }, url) {
  const client = createDfdaemonDownloadClient({ socketPath });
  try {
    // The task id of a URL that nothing is asked for with but itself, see packages/dfdaemon/src/identity/task-id.ts.
    const taskId = createHash("sha256").update(`${url}STANDARD`).digest("hex");
    await client.deleteLocalTask({ taskId });
  } finally {
    await client[Symbol.asyncDispose]();
  }
}
