// Faults of the network.

export const networkFaults = {
  async link(fault, { network, clock }) {
    const wanted = ["lossPercent", "delayMs", "rateMbit"];
    const able = wanted.filter((name) => network.can.has(CAPABILITIES[name]));
    const values = Object.fromEntries(able.map((name) => [name, fault[name]]));
    if (able.length === 0) return NOT_HERE;
    await network.setLink(fault.target, values);
    await clock.pass(fault.durationMs);
    await network.setLink(fault.target, {});
    return JSON.stringify(values);
  },
  cut: ({ id, target, durationMs }, context) =>
    block(id, durationMs, context, (name) => name === target),
  split: ({ id, target, durationMs }, context) =>
    block(id, durationMs, context, (name) => target.includes(name)),
};

/** What a fault says that cannot be had where this runs. */
export const NOT_HERE = "left out: it cannot be had here";

const CAPABILITIES = { lossPercent: "loss", delayMs: "delay", rateMbit: "rate" };

/** Nobody on one side reaches anybody on the other. */
async function block(id, durationMs, { network, blocks, clock }, isOnOneSide) {
  if (!network.can.has("cut")) return NOT_HERE;
  const names = [...network.places.keys()];
  const ones = names.filter(isOnOneSide);
  const others = names.filter((name) => !isOnOneSide(name));
  blocks.set(
    id,
    ones.flatMap((one) => others.map((other) => [one, other])),
  );
  await network.setBlocked([...blocks.values()].flat());
  await clock.pass(durationMs);
  blocks.delete(id);
  await network.setBlocked([...blocks.values()].flat());
  return "";
}
