import type { Peer } from "./peer.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";

export type ChildLimits = Pick<SchedulerConfig, "childrenMax" | "readerChildrenMax">;

export const NO_LIMITS: ChildLimits = { childrenMax: Infinity, readerChildrenMax: Infinity };

export interface ParentChoice {
  readonly countMax: number;
  readonly nowMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Those who have children enough are passed over. */
  readonly limits: ChildLimits;
  /** Also those that the child called failed not long ago. */
  readonly evenSetAside?: boolean;
}

/** Candidates looked at closely; Dragonfly looks at 15 (filterParentLimit). */
const SAMPLE_MAX = 64;
/** Peers looked at to find out whether a parent has a source; where that is not enough it counts as having none. */
const SOURCE_LOOKS_MAX = 1_000;

/**
 * Chooses new parents for a peer: those that failed it or others least, then those with the fewest children, then at random.
 * Those it already has are not among them.
 *
 * @param servers peers of the same task for which `canServe` holds
 */
export function chooseParents(child: Peer, servers: readonly Peer[], choice: ParentChoice): Peer[] {
  if (choice.countMax <= 0) return [];
  const sampled = eligible(child, sample(servers, choice.random), choice);
  const candidates =
    sampled.length >= choice.countMax || servers.length <= SAMPLE_MAX
      ? sampled
      : eligible(child, servers, choice);
  return candidates
    .map((peer) => ({ peer, order: choice.random() }))
    .toSorted(
      (a, b) =>
        (child.failures.get(a.peer) ?? 0) - (child.failures.get(b.peer) ?? 0) ||
        a.peer.complaints.size - b.peer.complaints.size ||
        a.peer.children.size - b.peer.children.size ||
        a.order - b.order,
    )
    .slice(0, choice.countMax)
    .map(({ peer }) => peer);
}

function eligible(child: Peer, servers: readonly Peer[], choice: ParentChoice): Peer[] {
  return servers.filter(
    (peer) =>
      // Two peers of one host share one disk.
      peer.host !== child.host &&
      !child.parents.has(peer) &&
      child.isCompatible(peer) &&
      (choice.evenSetAside === true || (child.setAside.get(peer) ?? 0) <= choice.nowMs) &&
      peer.children.size < childrenMax(peer, choice.limits) &&
      (!child.holdsLease || hasWhatReaderLacks(peer, child)) &&
      // Last: it may have to look at half the swarm.
      (child.takesPushes || feeds(peer, child)),
  );
}

/**
 * Whether a parent will have pieces for a child that cannot be given another one later: it has a source, and the child is not part of it.
 * Whoever takes unasked parents is kept supplied by the mesh.
 */
function feeds(parent: Peer, child: Peer): boolean {
  if (parent.isReliable) return true;
  const canBeSource = child.children.size > 0;
  let isSupplied = false;
  const seen = new Set([parent]);
  const todo = [parent];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    for (const source of next.parents) {
      if (source === child) return false;
      if (seen.has(source)) continue;
      seen.add(source);
      if (source.isReliable) isSupplied ||= source.canServe;
      else todo.push(source);
      if (isSupplied && !canBeSource) return true;
      if (seen.size > SOURCE_LOOKS_MAX) return false;
    }
  }
  return isSupplied;
}

function childrenMax(peer: Peer, limits: ChildLimits): number {
  return peer.holdsLease && !peer.complete ? limits.readerChildrenMax : limits.childrenMax;
}

/** The origin's reader has everything first; only what was there before it is of use to it. */
function hasWhatReaderLacks(peer: Peer, reader: Peer): boolean {
  return peer.complete || peer.pieces.exceeds(reader.pieces);
}

function sample(servers: readonly Peer[], random: () => number): readonly Peer[] {
  if (servers.length <= SAMPLE_MAX) return servers;
  const chosen = new Set<Peer>();
  for (let drawn = 0; drawn < SAMPLE_MAX; drawn += 1) {
    const peer = servers[Math.floor(random() * servers.length)];
    if (peer !== undefined) chosen.add(peer);
  }
  return [...chosen];
}
