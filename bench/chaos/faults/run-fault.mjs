// Carries out one fault of a schedule, from its beginning to the moment when nothing of it is left to undo.
import { FAULT_KINDS } from "../schedule/fault-kinds.mjs";
import { diskFaults } from "./disk-faults.mjs";
import { networkFaults } from "./network-faults.mjs";
import { outsideFaults } from "./outside-faults.mjs";
import { processFaults } from "./process-faults.mjs";

const HANDLERS = { ...processFaults, ...networkFaults, ...diskFaults, ...outsideFaults };

/**
 * @param fault - see draw-faults.mjs
 * @param context - of the run: what the handlers take, `incidents`, and `turns`, a map: where the machine is too slow for the schedule,
 *   what holds the same thing waits
 * @returns what came of it, in words
 */
export async function runFault(fault, context) {
  const { incidents, turns } = context;
  const { holds } = FAULT_KINDS[fault.kind];
  const thing = holds === "none" ? fault.id : `${holds}/${fault.target}`;
  const before = turns.get(thing) ?? Promise.resolve();
  const turn = before.then(async () => {
    const incident = incidents.begin(fault);
    try {
      return await HANDLERS[fault.kind](fault, context);
    } finally {
      incidents.end(incident);
    }
  });
  turns.set(
    thing,
    turn.catch(() => {}),
  );
  return await turn;
}
