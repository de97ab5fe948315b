// An origin on this machine and one daemon with a scheduler of its own: what a single node does for its users.
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Child, childEnvironment, executable } from "../../scripts/demo/child.mjs";
import { startDaemon } from "../../scripts/demo/cluster.mjs";
import { openOrigin } from "../../scripts/demo/origin.mjs";
import { assertSha256 } from "./disk.mjs";
import { forget } from "./forget.mjs";
import { findNginx, openNginx } from "./nginx.mjs";
import { watchUsage } from "./process-usage.mjs";

const IP = "127.0.0.1";

/**
 * @param options.length - of the file that the origin has, in bytes
 * @param options.directory - for everything; a new one is made in it
 */
export async function openNodeWithOrigin({ length, directory }) {
  const work = join(directory, "node");
  mkdirSync(work);
  const path = join(work, "file.bin");
  const ours = await openOrigin({ path, length, ip: IP });
  const isNginx = findNginx() !== undefined;
  const nginx = isNginx
    ? await openNginx({ path, directory: join(work, "nginx"), ip: IP })
    : undefined;
  const daemon = await startDaemon({ name: "node", directory: work });
  return new NodeWithOrigin({ work, length, origin: { ...ours, ...nginx }, ours, nginx, daemon });
}

class NodeWithOrigin {
  #options;

  constructor(options) {
    this.#options = options;
  }

  get daemonPid() {
    return this.#options.daemon.child.pid;
  }

  get originKind() {
    return this.#options.nginx === undefined ? "a Node process" : findNginx();
  }

  /** The file, or under a query it has not been asked for before the same again: another task. */
  url(query = "") {
    return `${this.#options.origin.url}${query === "" ? "" : `?${query}`}`;
  }

  /** Bytes and time of `curl -o FILE`. */
  async curl(url) {
    return await this.#measure(["curl", "-sS", "--noproxy", "*", "-o", this.#output, url], []);
  }

  /** The same of `dfget -O FILE`; the daemon's share counts. With `isForgotten` the daemon has nothing left of it afterwards. */
  async dfget(url, { isForgotten = false } = {}) {
    const { daemon } = this.#options;
    const call = [...executable("dfget"), url, "-O", this.#output, "-e", daemon.socketPath];
    const last = [];
    const sample = await this.#measure([...call, "--json"], [daemon.child.pid], last);
    const { taskId } = last.map((line) => JSON.parse(line)).findLast((event) => event.taskId) ?? {};
    if (isForgotten && taskId !== undefined) await forget(daemon, taskId);
    return sample;
  }

  /** Of a `node` that does nothing. */
  async nothing() {
    const startedAt = performance.now();
    await new Child("node", [process.execPath, "-e", "0"]).success();
    return { seconds: (performance.now() - startedAt) / 1000 };
  }

  async close() {
    const { ours, nginx, daemon, work } = this.#options;
    await Promise.all([daemon.child.stop(), nginx?.close(), ours.close()]);
    rmSync(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  get #output() {
    return join(this.#options.work, "output");
  }

  async #measure(command, pids, lines = []) {
    const [pid] = pids;
    const usage = watchUsage(pid === undefined ? {} : { daemon: pid });
    const startedAt = performance.now();
    const child = new Child(command[0], command, { env: childEnvironment() });
    child.onLine((line, source) => source === "stdout" && line.startsWith("{") && lines.push(line));
    usage.follow("client", child.pid);
    await child.success();
    const seconds = (performance.now() - startedAt) / 1000;
    const { cpuSeconds, peakBytes } = usage.take();
    const output = this.#output;
    await assertSha256(output, this.#options.ours.sha256);
    rmSync(output);
    const sum = (values) => (values.daemon ?? 0) + values.client;
    return {
      seconds,
      cpuSeconds: sum(cpuSeconds),
      peakBytes: peakBytes.daemon ?? peakBytes.client,
    };
  }
}
