// Memory to memory: a process with pieces in memory, one that throws them away, and a transport between them. No digest is computed and
// no file is touched, so what is measured is the transport.
import { DID_NOT_FINISH } from "./did-not-finish.mjs";
import { openPair } from "./pair.mjs";
import { NotInTime } from "./peer/peer.mjs";

const MIB = 2 ** 20;
/** "10 KB": 10,000 bytes. */
const SMALL = 10_000;

/**
 * How much a sample takes. `limitMs` bounds every timed transfer: what has come by then counts.
 *
 * @typedef {{ bulkBytes: number, pieceLength: number, parallel: number, limitMs: number, warmBytes: number, newCount: number, pooledCount: number, loads: object[] }} MemorySizes
 */

/** Pieces of `LOADS` at a time. */
const LOAD_PARALLEL = 64;
/** Up to this many bytes a load is worth waiting for on any path. */
const SMALL_LOAD = 100_000;
/** Some 4 s are wanted for the large transfer; a rate that is cut off here is known well enough. */
const LIMIT_MS = 8_000;

/** Transfers beside the large one: `[pieces, bytes each]`. */
const LOADS = [
  [1, SMALL],
  [10, SMALL],
  [1000, SMALL],
  [1, 4 * MIB],
  [10, 4 * MIB],
];

/** @returns {MemorySizes} */
export function memorySizes({ isQuick, isClean, bulkBytes, parallel, limitMs }) {
  return {
    bulkBytes: bulkBytes ?? (isQuick ? 8 : 256) * MIB,
    pieceLength: (isQuick ? 1 : 4) * MIB,
    parallel,
    // What is quick must come to its end, on a machine however busy.
    limitMs: limitMs ?? (isQuick ? 60_000 : LIMIT_MS),
    // On a clean path what the compiler needs to see; on a bad one nothing that would open the congestion window before it is measured.
    warmBytes: !isClean ? 0 : (isQuick ? 1 : 16) * MIB,
    newCount: isQuick ? 2 : 5,
    pooledCount: isQuick ? 5 : 20,
    loads: isQuick ? LOADS.slice(0, 2) : LOADS,
  };
}

/** What `loads` is called in tables. */
export function nameLoad([count, length]) {
  return `${count} x ${length === SMALL ? "10 KB" : `${length / MIB} MiB`}`;
}

/**
 * One backend once, between two processes that are new.
 *
 * @param path - an open one, see paths.mjs
 * @returns a sample; where something does not finish or fails, with what was measured before that, and `failure`
 */
export async function measureMemory(path, backend, sizes) {
  const sample = { loads: {} };
  let pair;
  try {
    pair = await openPair(path, backend);
    await measureAll(pair, sizes, sample);
  } catch (error) {
    sample.failure = error instanceof NotInTime ? DID_NOT_FINISH : error.message;
    sample.failureDetail = error.stack;
  } finally {
    await pair?.close();
  }
  return sample;
}

async function measureAll({ server, client }, sizes, sample) {
  const { limitMs, pieceLength } = sizes;
  const small = { pieceLength: SMALL };
  const warmCount = Math.ceil(sizes.warmBytes / pieceLength);
  await client.call("verify", { ...small, pieceCount: 3 }, limitMs);
  await client.call("verify", { pieceLength, pieceCount: warmCount }, limitMs);

  const fresh = await client.call("timeNew", { ...small, count: sizes.newCount }, limitMs);
  sample.newMs = fresh.times;
  sample.handshakeMs = fresh.handshakes;
  const again = await client.call("timeAgain", { ...small, count: sizes.newCount }, limitMs);
  sample.againMs = again.times;
  sample.earlyCount = again.earlyCount;
  sample.pooledMs = await client.call(
    "timePooled",
    { ...small, count: sizes.pooledCount },
    limitMs,
  );

  const isSmall = ([pieceCount, length]) => pieceCount * length <= SMALL_LOAD;
  for (const load of sizes.loads.filter(isSmall)) await measureLoad(client, load, limitMs, sample);
  await measureBulk({ server, client }, sizes, sample);
  // What is left of a transfer that was cut off would be in the way.
  if (sample.bulk.isWhole) {
    const larger = sizes.loads.filter((load) => !isSmall(load));
    for (const load of larger) await measureLoad(client, load, limitMs, sample);
  }
  await client.call("verify", { ...small, pieceCount: 1 }, limitMs);
}

async function measureBulk(
  { server, client },
  { bulkBytes, pieceLength, parallel, limitMs },
  sample,
) {
  const pieceCount = Math.ceil(bulkBytes / pieceLength);
  const takeBoth = () => Promise.all([server, client].map((side) => side.call("usage")));
  const before = await takeBoth();
  sample.bulk = await fetch(client, { pieceLength, pieceCount, parallel, limitMs });
  sample.bulk.wantedBytes = pieceCount * pieceLength;
  const after = await takeBoth();
  [sample.server, sample.client] = after.map(({ cpuSeconds, peakBytes }, side) => ({
    cpuSeconds: cpuSeconds - before[side].cpuSeconds,
    peakBytes,
  }));
  sample.connections = await client.call("connectionStats");
}

async function measureLoad(client, [pieceCount, length], limitMs, sample) {
  const load = { pieceLength: length, pieceCount, parallel: LOAD_PARALLEL, limitMs };
  sample.loads[nameLoad([pieceCount, length])] = await fetch(client, load);
}

/** The process has a moment more than the transfer, to say what came of it. */
function fetch(client, load) {
  return client.call("fetch", load, load.limitMs + 10_000);
}
