import { chooseParents, NO_LIMITS } from "./choose-parents.ts";
import type { Peer } from "./peer.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import type { Task } from "./task.ts";

/**
 * Gives every peer that takes unasked parents as many as it should have, and sees to it that pieces can reach each of
 * them from whoever has everything or reads the origin. Peers with something new are marked `dirty`.
 */
export function spreadMesh(
  task: Task,
  options: {
    /** Peers of it for which `canServe` holds, as far as they may be named. */
    readonly servers: readonly Peer[];
    readonly config: SchedulerConfig;
    readonly nowMs: number;
    readonly random: () => number;
  },
): void {
  const { servers, config, nowMs, random } = options;
  const members = [...task.peers.values()].filter(isMember);
  for (const member of members) {
    for (const parent of member.parents) if (!parent.canServe) member.unlink(parent);
    const chosen = chooseParents(member, servers, {
      countMax: config.parentsPerPeer - member.parents.size,
      nowMs,
      random,
      limits: config,
    });
    for (const parent of chosen) adopt(member, parent);
  }

  const reached = new Set<Peer>();
  /** Of those who can serve, who is reached. */
  const upstream: Peer[] = [];
  const reach = (source: Peer): void => {
    const todo = [source];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      if (reached.has(next)) continue;
      reached.add(next);
      if (next.canServe) upstream.push(next);
      todo.push(...next.children);
    }
  };
  for (const server of servers) if (server.complete || server.holdsLease) reach(server);
  if (reached.size === 0) return;
  for (const member of members) {
    if (reached.has(member)) continue;
    const choice = { countMax: 1, nowMs, random };
    const [parent] = [
      ...chooseParents(member, upstream, { ...choice, limits: config }),
      ...chooseParents(member, upstream, { ...choice, limits: NO_LIMITS }),
    ];
    if (parent === undefined) continue;
    const [superfluous] = member.parents.size >= config.parentsPerPeer ? member.parents : [];
    if (superfluous !== undefined) member.unlink(superfluous);
    adopt(member, parent);
    reach(member);
  }
}

/** Answered, still fetching, and listening. */
function isMember(peer: Peer): boolean {
  return (
    peer.takesPushes && peer.wants && peer.waiting === undefined && peer.state !== "ReceivedEmpty"
  );
}

function adopt(child: Peer, parent: Peer): void {
  child.link(parent);
  child.dirty = true;
}
