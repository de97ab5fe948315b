// From samples to what is shown.
import { BASE } from "./backends.mjs";
import { groupBy, median, medianOf } from "./statistics.mjs";

/**
 * One record for each path, mode, backend and congestion control of TCP, with medians over the rounds.
 *
 * Rates are in MB/s (10^6 bytes), CPU in seconds per GB (10^9 bytes), times as their names say. `ratios` are of the rate to gRPC's
 * with TLS on the same path and in the same mode, one for each congestion control that was measured, by its name.
 */
export function summarise(samples) {
  const keyOf = ({ path, mode, backend, tcp }) => [path, mode, backend, tcp].join(" ");
  const results = [...groupBy(samples, keyOf).values()].map(summariseOne);
  return results.map((result) => ({ ...result, ratios: ratiosOf(result, results) }));
}

function summariseOne(group) {
  const [{ path, mode, backend, tcp }] = group;
  const whole = group.filter(({ bulk }) => bulk !== undefined);
  const rates = whole.map(({ bulk }) => bulk.bytes / 1e6 / bulk.seconds);
  const perGb = (side) =>
    medianOf(
      whole,
      (sample) => sample[side] && (sample[side].cpuSeconds * 1e9) / sample.bulk.bytes,
    );
  const loadNames = [...new Set(group.flatMap(({ loads = {} }) => Object.keys(loads)))];
  return {
    path,
    mode,
    backend,
    ...(tcp === undefined ? {} : { tcp }),
    roundCount: group.length,
    rate: median(rates),
    rateMin: rates.length === 0 ? undefined : Math.min(...rates),
    rateMax: rates.length === 0 ? undefined : Math.max(...rates),
    seconds: medianOf(whole, ({ bulk }) => bulk.seconds),
    bytes: medianOf(whole, ({ bulk }) => bulk.bytes),
    wantedBytes: medianOf(whole, ({ bulk }) => bulk.wantedBytes),
    isWhole: whole.length > 0 && whole.every(({ bulk }) => bulk.isWhole),
    cpuSecondsPerGb: { server: perGb("server"), client: perGb("client") },
    peakBytes: {
      server: medianOf(whole, ({ server }) => server?.peakBytes),
      client: medianOf(whole, ({ client }) => client?.peakBytes),
    },
    handshakeMs: median(group.flatMap(({ handshakeMs = [] }) => handshakeMs)),
    newMs: median(group.flatMap(({ newMs = [] }) => newMs)),
    againMs: median(group.flatMap(({ againMs = [] }) => againMs)),
    earlyCount: group.reduce((sum, { earlyCount = 0 }) => sum + earlyCount, 0),
    pooledMs: median(group.flatMap(({ pooledMs = [] }) => pooledMs)),
    loadSeconds: Object.fromEntries(
      loadNames.map((name) => [
        name,
        medianOf(group, ({ loads }) => (loads?.[name]?.isWhole ? loads[name].seconds : undefined)),
      ]),
    ),
    failures: group.flatMap(({ failure, round }) =>
      failure === undefined ? [] : [{ round, failure }],
    ),
  };
}

function ratiosOf({ path, mode, rate }, results) {
  const bases = results.filter(
    (other) => other.path === path && other.mode === mode && other.backend === BASE,
  );
  return Object.fromEntries(
    bases.map((base) => [base.tcp === undefined ? BASE : `${BASE} ${base.tcp}`, rate / base.rate]),
  );
}
