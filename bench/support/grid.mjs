// Whether QUIC chooses well by itself: over every delay and loss, what it chooses against each choice pinned.
import { formatTable } from "../../scripts/demo/terminal.mjs";
import { findBackend } from "./backends.mjs";
import { openPair } from "./pair.mjs";
import { badLink } from "./paths.mjs";
import { median } from "./statistics.mjs";
import { digits } from "./tables.mjs";

const MIB = 2 ** 20;
const RTTS_MS = [0, 10, 50, 100];
const LOSSES_PERCENT = [0, 0.1, 1, 2];
/** What the endpoint is told; "auto": it is told to choose. */
const CONTROLS = ["cubic", "bbr", "auto"];
const PIECE_LENGTH = 4 * MIB;
/** A cell is measured in a time, not in bytes: they differ a hundredfold. */
const WARM_MS = 2_000;
const MEASURE_MS = 4_000;

/**
 * Measures every cell in rounds, memory to memory, until the time is up; the first round in any case.
 *
 * @returns cells: `rttMs`, `lossPercent`, `rates` by control (medians, MB/s), `toBetter`: auto's rate to the better pinned one's
 */
export async function measureGrid(options, report) {
  const samples = new Map();
  const [rtts, losses] = options.isQuick ? [[10], [0, 1]] : [RTTS_MS, LOSSES_PERCENT];
  const endAt = performance.now() + options.minutes * 60_000;
  let roundMs = 0;
  for (let round = 0; round < options.rounds; round += 1) {
    if (round > 0 && performance.now() + roundMs > endAt) break;
    const startedAt = performance.now();
    for (const rttMs of rtts) {
      for (const lossPercent of losses) {
        const link = { ...options.link, rttMs, lossPercent, seed: options.link.seed + round };
        await measureCell(link, options, (control, sample) => {
          const key = `${rttMs} ${lossPercent} ${control}`;
          samples.set(key, [...(samples.get(key) ?? []), sample]);
          const rate = sample.failure ?? `${digits(sample.rate)} MB/s`;
          report.line(`round ${round + 1}: ${rttMs} ms, ${lossPercent} %, ${control}: ${rate}`);
        });
      }
    }
    roundMs = performance.now() - startedAt;
  }
  return rtts.flatMap((rttMs) =>
    losses.map((lossPercent) => {
      const of = (control) => samples.get(`${rttMs} ${lossPercent} ${control}`);
      const rateOf = (control) => median(of(control).flatMap(({ rate }) => rate ?? []));
      const rates = Object.fromEntries(CONTROLS.map((control) => [control, rateOf(control)]));
      const toBetter = rates.auto / Math.max(rates.cubic, rates.bbr);
      return { rttMs, lossPercent, rates, toBetter, samples: CONTROLS.map(of) };
    }),
  );
}

/** @returns lines */
export function formatGrid(cells) {
  const header = [
    "RTT, loss each way",
    ...CONTROLS.map((name) => `${name} MB/s`),
    "auto to better",
    "",
  ];
  const rows = cells.map(({ rttMs, lossPercent, rates, toBetter }) => [
    `${rttMs} ms, ${lossPercent} %`,
    ...CONTROLS.map((name) => digits(rates[name])),
    digits(toBetter, 2),
    toBetter < 0.9 ? "more than 10 % below" : "",
  ]);
  return ["", "QUIC, one process to one, by congestion control", ...formatTable([header, ...rows])];
}

async function measureCell(link, options, note) {
  const open = await badLink("grid", link).open();
  try {
    for (const control of CONTROLS) note(control, await measureControl(open, control, options));
  } finally {
    await open.close();
  }
}

async function measureControl(open, congestionControl, { parallel, isQuick }) {
  let pair;
  try {
    pair = await openPair(open, findBackend("quic-auto"), { tuning: { congestionControl } });
    // Enough for any rate within the time; what it learns of the path in the first it may use in the second.
    const load = { pieceLength: PIECE_LENGTH, pieceCount: 10_000, parallel };
    const scale = isQuick ? 0.25 : 1;
    await pair.client.call("fetch", { ...load, limitMs: WARM_MS * scale });
    const fetched = await pair.client.call("fetch", { ...load, limitMs: MEASURE_MS * scale });
    const connections = await pair.client.call("connectionStats");
    return { rate: fetched.bytes / 1e6 / fetched.seconds, ...fetched, connections };
  } catch (error) {
    return { failure: error.message };
  } finally {
    await pair?.close();
  }
}
