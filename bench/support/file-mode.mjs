// File to file: two daemons, the first with a file that the second fetches for a `dfget`, everything checked and on disk. And what
// there is to compare with: `curl -o FILE`, and a `dfget` of the first daemon, both from an HTTP origin. Linux only.
import { rmSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Child } from "../../scripts/demo/child.mjs";
import {
  download,
  issueCertificates,
  startDaemon,
  startScheduler,
} from "../../scripts/demo/cluster.mjs";
import { openOrigin } from "../../scripts/demo/origin.mjs";
import { assertSha256, settle } from "./disk.mjs";
import { DID_NOT_FINISH } from "./did-not-finish.mjs";
import { forget } from "./forget.mjs";
import { inNamespace } from "./namespaces.mjs";
import { findNginx, openNginx } from "./nginx.mjs";
import { watchUsage } from "./process-usage.mjs";

const MIB = 2 ** 20;
const NODES = ["first", "second"];

/** What a data centre's network is like: measured with 1 GiB, the other paths with what takes a few seconds. */
export const LONG_FILE_PATH = "veth-1500";

/** How long the file is. */
export function fileBytesOf({ isQuick, fileBytes }, pathName) {
  if (fileBytes !== undefined) return Math.round(fileBytes);
  if (isQuick) return 8 * MIB;
  return (pathName === LONG_FILE_PATH ? 1024 : 256) * MIB;
}

/** How long one transfer may take before it is cut off. */
export function fileLimitMs({ limitMs }, { isClean }) {
  return limitMs ?? (isClean ? 60_000 : 20_000);
}

/**
 * Gets an open path ready: the origin, and certificates. Daemons are started when a backend has its first turn, and stay: a daemon
 * lives long. Between turns the second forgets the file.
 *
 * @param options - `length`, `limitMs`, `directory`; and `files`, a map in which files stay known from one path to the next
 */
export async function openFileMode(path, { length, limitMs, directory, files }) {
  const mode = new FileMode(path, { length, limitMs, directory });
  await mode.open(files);
  return mode;
}

/** There is nothing to measure, and nothing wrong either. */
class NotPossible extends Error {}

let count = 0;

class FileMode {
  #path;
  #length;
  #limitMs;
  #directory;
  #file;
  #pairs = new Map();
  #origin;

  constructor(path, { length, limitMs, directory }) {
    this.#path = path;
    this.#length = length;
    this.#limitMs = limitMs;
    count += 1;
    this.#directory = join(directory, `f${count}`); // short: unix sockets lie in it
    this.#file = join(directory, `${length}.bin`);
  }

  async open(files) {
    const { serverIp, clientIp, serverNamespace } = this.#path;
    const prefix = inNamespace(serverNamespace, []);
    const length = this.#length;
    const origin = { path: this.#file, length, ip: serverIp, prefix };
    const ours = await openOrigin({ ...origin, sha256: files.get(length) });
    files.set(length, ours.sha256);
    await issueCertificates(
      this.#certificates,
      ["scheduler", ...NODES],
      [...new Set([serverIp, clientIp])],
    );
    this.#origin = ours;
    if (findNginx() === undefined) return;
    const nginx = await openNginx({ ...origin, directory: join(this.#directory, "nginx") });
    const close = async () => {
      await Promise.all([nginx.close(), ours.close()]);
    };
    this.#origin = { ...ours, ...nginx, close };
  }

  get #certificates() {
    return join(this.#directory, "certificates");
  }

  /** @returns samples, see memory-mode.mjs: the backend's, and with its first turn one of the first daemon's own download */
  async sample(backend, tcp) {
    if (backend.name === "curl") return [await this.#orFailure(() => this.#curl())];
    const key = `${backend.name}-${tcp ?? ""}`;
    const samples = [];
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      pair = { work: join(this.#directory, `p${this.#pairs.size}`) };
      this.#pairs.set(key, pair);
      const cold = await this.#orFailure(() => this.#start(pair, backend));
      if (cold.bulk === undefined) pair.cold = cold;
      else samples.push({ backend: "dfget-cold", ...cold });
    }
    samples.push(pair.cold ?? (await this.#orFailure(() => this.#fetch(pair))));
    return samples;
  }

  async close() {
    const children = [...this.#pairs.values()].flatMap((pair) => pair.children ?? []);
    await Promise.all(children.map((child) => child.stop()));
    await this.#origin.close();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  async #orFailure(measure) {
    try {
      return await measure();
    } catch (error) {
      if (error instanceof NotPossible) return { whyNot: error.message };
      return { failure: error.message.split("\n", 1)[0], failureDetail: error.stack };
    }
  }

  /** Two daemons, and the file on the first of them. */
  async #start(pair, backend) {
    await this.#startProcesses(pair, backend);
    const pids = { sender: this.#origin.pid, receiver: pair.first.child.pid };
    const sample = await this.#measureDfget(pair.first, pids);
    if (!sample.bulk.isWhole) throw new Error("The first daemon did not get the file in time");
    return sample;
  }

  async #startProcesses(pair, { daemon }) {
    const { serverIp, clientIp, serverNamespace, clientNamespace } = this.#path;
    const serverSide = { ip: serverIp, prefix: inNamespace(serverNamespace, []) };
    const clientSide = { ip: clientIp, prefix: inNamespace(clientNamespace, []) };
    const shared = {
      directory: pair.work,
      ...(daemon.isSecured ? { certificates: this.#certificates } : {}),
    };
    pair.children = [];
    const scheduler = await startScheduler({ ...shared, ...serverSide });
    pair.children.push(scheduler.child);
    for (const [name, side] of [
      ["first", serverSide],
      ["second", clientSide],
    ]) {
      const { protocol } = daemon.server;
      const options = { ...shared, ...side, name, scheduler, protocol, server: daemon.server };
      pair[name] = await startDaemon(options);
      pair.children.push(pair[name].child);
      // Pinned or not, quiche is what there is as long as nothing else can be chosen.
      const isAnyway = (setting) =>
        setting.endsWith(".backend") && daemon.server.quic.backend === "quiche";
      const setting = pair[name].ineffective.find((candidate) => !isAnyway(candidate));
      if (setting !== undefined) throw new NotPossible(`dfdaemon does not heed ${setting}`);
    }
  }

  /** The second daemon's download from the first. */
  async #fetch(pair) {
    const { first, second } = pair;
    const pids = { sender: first.child.pid, receiver: second.child.pid };
    const sample = await this.#measureDfget(second, pids);
    const { result, taskId } = sample;
    if (taskId !== undefined) await forget(second, taskId);
    // dfget counts whole pieces.
    if (!sample.bulk.isWhole && !(result.done > 0)) return { failure: DID_NOT_FINISH };
    const fromFirst = result.fromParents[first.hostId] ?? 0;
    const isElsewhere = sample.bulk.isWhole
      ? fromFirst !== this.#length
      : fromFirst !== result.done;
    if (isElsewhere || second.fallbackCount() > 0) {
      throw new Error(
        `Not all bytes came the way that was to be measured: ${JSON.stringify(result)}`,
      );
    }
    return sample;
  }

  /** A `dfget` on a node, from the start of its process to its end, or to the limit. */
  async #measureDfget(node, { sender, receiver }) {
    const output = join(this.#directory, `${node.name}.out`);
    await settle(this.#directory, this.#length);
    const usage = watchUsage({ sender, receiver });
    const startedAt = performance.now();
    let last = {};
    const onEvent = (event) => {
      last = { ...last, ...event, seconds: (performance.now() - startedAt) / 1000 };
    };
    const { child, done } = download(node, { url: this.#origin.url, output, onEvent });
    usage.follow("dfget", child.pid);
    const isWhole = await this.#withinLimit(child, done);
    const seconds = isWhole ? (performance.now() - startedAt) / 1000 : last.seconds;
    const sides = usage.take();
    if (isWhole) await assertSha256(output, this.#origin.sha256);
    await rm(output, { force: true });
    return this.#toSample(sides, { isWhole, seconds, bytes: last.done ?? 0, last });
  }

  async #curl() {
    const output = join(this.#directory, "curl.out");
    const { clientNamespace } = this.#path;
    await settle(this.#directory, this.#length);
    const usage = watchUsage({ sender: this.#origin.pid });
    const startedAt = performance.now();
    const command = ["curl", "-sS", "--noproxy", "*", "-o", output, this.#origin.url];
    const child = new Child("curl", inNamespace(clientNamespace, command));
    usage.follow("receiver", child.pid);
    const isWhole = await this.#withinLimit(child, child.success());
    const seconds = (performance.now() - startedAt) / 1000;
    const sides = usage.take();
    const file = await open(output, "r");
    const { size } = await file.stat();
    await file.close();
    if (isWhole) await assertSha256(output, this.#origin.sha256);
    await rm(output);
    return this.#toSample(sides, { isWhole, seconds, bytes: size, last: {} });
  }

  /** @returns whether it ended by itself; it is ended when it takes too long */
  async #withinLimit(child, done) {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.process.kill("SIGKILL");
    }, this.#limitMs);
    try {
      await done;
      return true;
    } catch (error) {
      if (isLate) return false;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #toSample({ cpuSeconds, peakBytes, fileCounts }, { isWhole, seconds, bytes, last }) {
    const dfget = cpuSeconds.dfget ?? 0;
    return {
      bulk: { bytes, wantedBytes: this.#length, seconds, isWhole },
      server: {
        cpuSeconds: cpuSeconds.sender,
        peakBytes: peakBytes.sender,
        fileCount: fileCounts.sender,
      },
      client: {
        cpuSeconds: (cpuSeconds.receiver ?? 0) + dfget,
        peakBytes: peakBytes.receiver,
        fileCount: fileCounts.receiver,
      },
      result: last,
      taskId: last.taskId,
    };
  }
}
