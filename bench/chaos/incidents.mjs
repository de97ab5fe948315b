// What was wrong when, as it really came about: what clients, health checks and counts are judged by.

/** Times are those of `Date.now()`. */
export class Incidents {
  #list = [];

  /** @returns `{ fault, fromMs, untilMs }`; `end()` it */
  begin(fault) {
    const incident = { fault, fromMs: Date.now(), untilMs: Number.POSITIVE_INFINITY };
    this.#list.push(incident);
    return incident;
  }

  end(incident) {
    incident.untilMs = Date.now();
  }

  /** Those that last, or whose consequences last `settleMs` longer, at some time of a span. */
  during({ fromMs, untilMs, settleMs = 0 }) {
    return this.#list.filter(
      (incident) => incident.fromMs <= untilMs && incident.untilMs + settleMs >= fromMs,
    );
  }

  get all() {
    return this.#list;
  }
}

/** What a fault is to somebody who downloads `file` on `node`: `own`, `scheduler`, `origin`, `file`, `everybody`, or `other`: another node's. */
export function relationOf(fault, { node, file }) {
  const { kind, target } = fault;
  if (kind === "split") return "everybody";
  if (kind === "origin-error")
    return fault.isEverywhere || target === file ? "origin" : "other file";
  if (kind === "lie") return target === file ? "file" : "other file";
  if (target === node) return "own";
  if (target === "scheduler" || target === "origin") return target;
  return "other";
}
