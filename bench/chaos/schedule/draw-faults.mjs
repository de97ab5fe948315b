// The faults of a schedule: what goes wrong when, with whom and for how long.
import { FAULT_KINDS } from "./fault-kinds.mjs";
import { ORIGIN, SCHEDULER } from "./topology.mjs";

/** Between two faults, on average. Milliseconds. */
const PAUSE_MS = 1_200;
/** Somebody begins to lie about a file at most twice this long before it is there. Milliseconds. */
const YOUNG_MS = 2_000;
/** After a fault what it held is left alone for this long, so that there is something to break. */
const REST_MS = 1_500;

/**
 * @param {{ nodes: string[], steady: string, files: object[], spans: { fromMs: number, untilMs: number }[] }} parts - nothing is wrong
 *   outside the spans
 * @returns faults in the order of their starts: `{ atMs, durationMs, kind, target, … }`; `id` is given later
 */
export function drawFaults(random, { nodes, steady, files, spans }) {
  const faults = [];
  /** What is in somebody's hands, and until when. */
  const held = new Map();
  for (const { fromMs, untilMs } of spans) {
    for (let atMs = fromMs; atMs < untilMs; atMs += random.pause(PAUSE_MS)) {
      const fault = drawFault(random, { atMs: Math.round(atMs), untilMs, nodes, steady, files });
      if (fault === undefined) continue;
      const thing = `${FAULT_KINDS[fault.kind].holds}/${targetName(fault)}`;
      const isFree = (held.get(thing) ?? -1) <= fault.atMs;
      if (!isFree && !thing.startsWith("none/")) continue;
      held.set(thing, fault.atMs + fault.durationMs + REST_MS);
      faults.push(fault);
    }
  }
  return faults;
}

function drawFault(random, { atMs, untilMs, nodes, steady, files }) {
  const kind = random.weighted(
    Object.entries(FAULT_KINDS).map(([name, { weight }]) => [name, weight]),
  );
  const { durationMs, draw = () => ({}) } = FAULT_KINDS[kind];
  const target = drawTarget(random, { kind, atMs, nodes, steady, files });
  if (target === undefined) return undefined;
  const lastsMs = random.integer(...durationMs);
  return {
    atMs,
    durationMs: Math.min(lastsMs, Math.max(0, untilMs - atMs)),
    kind,
    target,
    ...draw(random, { isSteady: target === steady }),
  };
}

function drawTarget(random, { kind, atMs, nodes, steady, files }) {
  switch (FAULT_KINDS[kind].target) {
    case "node":
      return random.pick(nodes);
    case "unsteady":
      return random.pick(nodes.filter((name) => name !== steady));
    case "any":
      return random.pick([...nodes, SCHEDULER, ORIGIN]);
    case "scheduler":
      return SCHEDULER;
    case "halves": {
      const everybody = [...nodes, SCHEDULER, ORIGIN];
      return random.sample(everybody, random.integer(2, everybody.length - 2)).toSorted();
    }
    case "young file": {
      // Whoever is there first is believed to have read the origin.
      const young = files.filter(({ bornMs }) => Math.abs(bornMs - atMs - YOUNG_MS) <= YOUNG_MS);
      return young.length === 0 ? undefined : random.pick(young).name;
    }
    default: {
      const alive = files.filter((file) => file.bornMs <= atMs && atMs < file.dyingMs);
      return alive.length === 0 ? undefined : random.pick(alive).name;
    }
  }
}

/** Of one thing there is only one, whatever file it is about. */
function targetName({ kind, target }) {
  return ["lie", "split", "origin-error"].includes(kind) ? kind : target;
}
