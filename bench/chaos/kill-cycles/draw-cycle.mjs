// What is killed in one cycle, and when: a pure function of the start value and the number of the cycle.
import { createRandom } from "../schedule/random.mjs";
import { SCHEDULER } from "../schedule/topology.mjs";

const MIB = 2 ** 20;

/**
 * @returns `{ number, length, kind, victim, moment }`: `length` of the cycle's file in bytes; `kind` is `daemon` (the control process), `tree` (with
 *   its data plane), `worker` (the data plane alone) or `scheduler`; `moment` is when, as a fraction of the time that such a download takes
 */
export function drawCycle({ start, number, nodes }) {
  const random = createRandom(start, `cycle ${number}`);
  const kind = random.weighted([
    ["daemon", 40],
    ["tree", 25],
    ["worker", 20],
    ["scheduler", 15],
  ]);
  return {
    number,
    length: random.integer(8 * MIB, 40 * MIB),
    kind,
    victim: kind === "scheduler" ? SCHEDULER : random.pick(nodes),
    moment: random.fraction(),
  };
}
