// A fault in words.

const SAID_OTHERWISE = new Set(["id", "atMs", "durationMs", "kind", "target"]);

/** `f0012 link peer-2 for 6811 ms, lossPercent 10, delayMs 80, rateMbit 5`. */
export function describeFault(fault) {
  const { id, kind, target, durationMs } = fault;
  const whom = Array.isArray(target) ? `between ${target.join(", ")} and the others` : target;
  const more = Object.entries(fault)
    .filter(([name, value]) => !SAID_OTHERWISE.has(name) && value !== false)
    .map(([name, value]) => `${name} ${round(value)}`);
  return [`${id} ${kind} ${whom} for ${durationMs} ms`, ...more].join(", ");
}

function round(value) {
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : value;
}
