import { checkServerIdentity } from "node:tls";
import {
  type AnnounceHostRequest__Output,
  type AnnounceHostResponse,
  type CallContext,
  durationToMs,
  type ImplementedService,
  implementService,
  RequestGate,
} from "@damselfly/rpc";
import { answerStatus } from "./answer-status.ts";
import { describePeer, describeTask } from "./describe.ts";
import { SchedulerError } from "./errors.ts";
import { NODE_CERTIFICATE_NAME } from "@damselfly/transport";
import type { Host } from "./host.ts";
import { isListening } from "./is-listening.ts";
import { servePeerStream } from "./peer-stream.ts";
import type { SchedulerLimits } from "./scheduler-limits.ts";
import type { Scheduling } from "./scheduling.ts";
import { assertAnnouncement, assertId } from "./validate.ts";

/** How long a daemon may take to accept a connection and count as living. Milliseconds. */
const RIVAL_PROBE_MS = 1_000;

/** Lists of hosts in a second. */
const LISTS_PER_SECOND = 10;

/** Pieces of a task in an answer about it: it is some 2 MiB long then. */
const STAT_DIGEST_COUNT_MAX = 32_768;

/**
 * scheduler.v2.Scheduler over `Scheduling`.
 *
 * @param options.secure callers have shown a certificate: each may speak only for hosts that it names
 * @param options.plainPeers some have not, and may speak for any host for which nobody ever showed one
 * @param options.seeds hostnames that may be seeds; empty: whoever says that it is one
 */
export function createSchedulerService(
  scheduling: Scheduling,
  options: {
    readonly secure: boolean;
    readonly plainPeers?: boolean;
    readonly seeds?: readonly string[] | undefined;
    readonly limits: SchedulerLimits;
  },
): ImplementedService {
  const { limits } = options;
  let probeCount = 0;
  const mayLive = async (host: Host): Promise<boolean> => {
    if (probeCount >= limits.probeCountMax) return true;
    probeCount += 1;
    try {
      return await isAlive(host);
    } finally {
      probeCount -= 1;
    }
  };
  const certified = new CertifiedHosts();
  const checkHostname = (
    { id, hostname }: { readonly id: string; readonly hostname: string },
    { peerCertificate }: Pick<CallContext, "peerCertificate">,
  ): void => {
    if (!options.secure) return;
    if (peerCertificate === undefined && options.plainPeers === true) {
      if (!certified.has(id)) return;
      throw new SchedulerError(
        "ERR_UNTRUSTED_HOST",
        `Cannot accept host ${hostname}: it has shown a certificate before, and this caller shows none`,
      );
    }
    const names = peerCertificate?.subjectaltname ?? "";
    // Without alternative names Node would look at the common name, which says nothing here.
    if (
      peerCertificate !== undefined &&
      names !== "" &&
      checkServerIdentity(hostname, peerCertificate) === undefined
    ) {
      // Else whoever has any node's certificate could speak for the id of another one.
      if (hostname === NODE_CERTIFICATE_NAME || !isIdOf(id, hostname)) {
        throw new SchedulerError(
          "ERR_UNTRUSTED_HOST",
          `Cannot accept host ${id}: that is no id of a host named ${hostname}`,
        );
      }
      certified.add(id);
      return;
    }
    throw new SchedulerError(
      "ERR_UNTRUSTED_HOST",
      `Cannot accept host ${hostname}: the certificate names ${names || "nothing"}`,
    );
  };
  const seeds = new Set(options.seeds);
  /** A seed is sent what others download, the headers with their credentials included. */
  const checkSeed = (
    { type, hostname }: { readonly type: number; readonly hostname: string },
    { peerCertificate }: Pick<CallContext, "peerCertificate">,
  ): void => {
    if (type === 0 || seeds.size === 0) return;
    if (seeds.has(hostname) && (!options.secure || peerCertificate !== undefined)) return;
    const why = seeds.has(hostname)
      ? "it shows no certificate, and those that security.seeds of the scheduler names must"
      : "security.seeds of the scheduler does not name it";
    throw new SchedulerError(
      "ERR_UNTRUSTED_HOST",
      `Cannot accept host ${hostname} as a seed: ${why}`,
    );
  };
  const checkHost = (hostId: string, context: Pick<CallContext, "peerCertificate">): void => {
    checkHostname(scheduling.host(hostId).facts, context);
  };
  /** A peer without a certificate may register before its host has announced itself. */
  const checkPeerHost = (hostId: string, call: Pick<CallContext, "peerCertificate">): void => {
    if (call.peerCertificate === undefined) checkHostname(scheduling.hostFacts(hostId), call);
    else checkHost(hostId, call);
  };

  async function announceHost(
    request: AnnounceHostRequest__Output,
    context: CallContext,
  ): Promise<AnnounceHostResponse> {
    const host = assertAnnouncement(request);
    checkHostname(host, context);
    checkSeed(host, context);
    const { interval } = request;
    const lifetime =
      interval === undefined || interval === null ? {} : { intervalMs: durationToMs(interval) };
    const rival = scheduling.rivalOf(host);
    // A daemon that was killed and started again on another port must not wait until its former self is forgotten.
    const evict = rival !== undefined && !(await mayLive(rival));
    scheduling.announceHost(host, {
      ...lifetime,
      certified: context.peerCertificate !== undefined,
      evict: evict && scheduling.rivalOf(host) === rival,
      address: context.peerIp,
    });
    return { extension: { version: 1 } };
  }

  // The answer is as long as there are hosts: everybody together may have it this often.
  const listGate = new RequestGate({ ratePerSecond: LISTS_PER_SECOND, waitingCountMax: 100 });

  return implementService("scheduler.v2.Scheduler", {
    announceHost: translated(announceHost),
    announcePeer: (call) =>
      servePeerStream(call, {
        scheduling,
        checkHost: (hostId) => checkPeerHost(hostId, call),
        limits,
      }),
    statPeer: translated(async ({ hostId, taskId, peerId }) => {
      const peer = scheduling.peer(taskId, peerId);
      assertIs(hostId, peer.host.id);
      return describePeer(peer, peer.task.digests.slice(0, STAT_DIGEST_COUNT_MAX));
    }),
    statTask: translated(async ({ taskId }) => {
      const task = scheduling.task(taskId);
      return describeTask(task, task.digests.slice(0, STAT_DIGEST_COUNT_MAX));
    }),
    deletePeer: translated(async ({ hostId, taskId, peerId }, context) => {
      checkHost(hostId, context);
      assertIs(hostId, scheduling.peer(taskId, peerId).host.id);
      scheduling.deletePeer(taskId, peerId);
      return {};
    }),
    deleteTask: translated(async ({ hostId, taskId }, context) => {
      assertId(hostId, "host_id");
      assertId(taskId, "task_id");
      checkHost(hostId, context);
      scheduling.deleteTask(hostId, taskId);
      return {};
    }),
    listHosts: translated(async ({ type }, { signal, peerIp }) => {
      await listGate.enter(signal, peerIp);
      const hosts = scheduling.hosts
        .map(({ facts }) => facts)
        .filter((facts) => type === undefined || facts.type === type);
      return { hosts };
    }),
    deleteHost: translated(async ({ hostId }, context) => {
      checkHost(hostId, context);
      scheduling.deleteHost(hostId);
      return {};
    }),
  });
}

/** Ids of hosts that were announced with a certificate. One too many forgets the oldest. */
class CertifiedHosts {
  readonly #ids = new Set<string>();

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  add(id: string): void {
    this.#ids.delete(id);
    const [oldest] = this.#ids;
    if (this.#ids.size >= CERTIFIED_HOSTS_MAX && oldest !== undefined) this.#ids.delete(oldest);
    this.#ids.add(id);
  }
}

const CERTIFIED_HOSTS_MAX = 100_000;

/** Whether a daemon is there: one of its peers is talking to us, or it accepts connections. */
async function isAlive(host: Host): Promise<boolean> {
  for (const peer of host.peers) if (peer.wants) return true;
  return await isListening(host.facts, { timeoutMs: RIVAL_PROBE_MS });
}

function assertIs(hostId: string, actual: string): void {
  if (hostId === actual) return;
  throw new SchedulerError("ERR_PEER_NOT_FOUND", `host ${hostId} has no such peer`);
}

/** Answers our own errors with their statuses. */
function translated<Request, Response>(
  method: (request: Request, context: CallContext) => Promise<Response>,
): (request: Request, context: CallContext) => Promise<Response> {
  return async (request, context) => {
    try {
      return await method(request, context);
    } catch (error) {
      throw answerStatus(error);
    }
  };
}

/** Host ids are `{ip}-{hostname}`, with `-seed` behind it for a seed; there is no dash in an address. */
function isIdOf(id: string, hostname: string): boolean {
  const name = id.slice(id.indexOf("-") + 1);
  return id === hostname || name === hostname || name === `${hostname}-seed`;
}
