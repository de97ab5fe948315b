import type { Protocol } from "@damselfly/transport";
import type { Entrant } from "./race.ts";

/** How long each runs alone where nothing is known, in milliseconds: a LAN's answer comes well before the first. */
const FIRST_HEAD_STARTS_MS = [50, 250];
/** The head start of one that is being looked at anew while another is known to work, in milliseconds. */
export const TRIAL_HEAD_START_MS: number = 200;

/** Who is asked for a piece of a parent of which nothing is known. `isSlow`: it has not answered at once. */
export function firstEntrants(order: readonly Protocol[], isSlow: boolean): Entrant<Protocol>[] {
  return order.map((name, index) => {
    const headStartMs = FIRST_HEAD_STARTS_MS[index - 1] ?? FIRST_HEAD_STARTS_MS.at(-1)!;
    const waitMs = isSlow ? TRIAL_HEAD_START_MS : headStartMs;
    return { name, afterMs: index === 0 ? 0 : waitMs };
  });
}

/** The protocols in this order; those it does not name come last. */
export function inOrder(protocols: readonly Protocol[], order: readonly Protocol[]): Protocol[] {
  const rank = (protocol: Protocol): number => {
    const index = order.indexOf(protocol);
    return index === -1 ? order.length : index;
  };
  return protocols.toSorted((one, other) => rank(one) - rank(other));
}
