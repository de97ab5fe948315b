import type { FuzzTarget } from "./engine/fuzz-target.ts";

/** How much is run: in CI, by `npm run fuzz`, and by `npm run fuzz -- --full`; in the target's units. */
export interface TargetCounts {
  readonly short: number;
  readonly usual: number;
  readonly full: number;
}

/** Every target by its name, loaded only in the process that runs it. */
const TARGETS: Readonly<Record<string, TargetCounts & { load(): Promise<FuzzTarget> }>> = {
  vortex: {
    short: 50_000,
    usual: 1_000_000,
    full: 10_000_000,
    load: async () => (await import("./targets/vortex.ts")).vortex,
  },
  config: {
    short: 250,
    usual: 10_000,
    full: 50_000,
    load: async () => (await import("./targets/config.ts")).config,
  },
  origin: {
    short: 300,
    usual: 20_000,
    full: 100_000,
    load: async () => (await import("./targets/origin.ts")).origin,
  },
  storage: {
    short: 100,
    usual: 2_000,
    full: 20_000,
    load: async () => (await import("./targets/storage.ts")).storage,
  },
  "quic-datagrams": {
    short: 5_000,
    usual: 200_000,
    full: 1_000_000,
    load: async () => (await import("./targets/quic-datagrams.ts")).quicDatagrams,
  },
  "quic-path": {
    short: 5_000,
    usual: 50_000,
    full: 500_000,
    load: async () => (await import("./targets/quic-path.ts")).quicPath,
  },
  "quic-frames": {
    short: 500,
    usual: 10_000,
    full: 50_000,
    load: async () => (await import("./targets/quic-frames.ts")).quicFrames,
  },
  "quic-parents": {
    short: 200,
    usual: 5_000,
    full: 50_000,
    load: async () => (await import("./targets/quic-parents.ts")).quicParents,
  },
  "tcp-parents": {
    short: 300,
    usual: 10_000,
    full: 50_000,
    load: async () => (await import("./targets/tcp-parents.ts")).tcpParents,
  },
  "tcp-ports": {
    short: 250,
    usual: 5_000,
    full: 50_000,
    load: async () => (await import("./targets/tcp-ports.ts")).tcpPorts,
  },
  "rpc-messages": {
    short: 200,
    usual: 20_000,
    full: 100_000,
    load: async () => (await import("./targets/rpc-messages.ts")).rpcMessages,
  },
  "scheduler-messages": {
    short: 200,
    usual: 20_000,
    full: 100_000,
    load: async () => (await import("./targets/scheduler-messages.ts")).schedulerMessages,
  },
  "rpc-answers": {
    short: 300,
    usual: 20_000,
    full: 100_000,
    load: async () => (await import("./targets/rpc-answers.ts")).rpcAnswers,
  },
  "quic-sessions": {
    short: 128,
    usual: 10_000,
    full: 100_000,
    load: async () => (await import("./targets/quic-sessions.ts")).quicSessions,
  },
};

export const TARGET_NAMES: readonly string[] = Object.keys(TARGETS);

/** For the fuzzer's own tests: it is not among those that are run. */
export const TRAPS = "traps";

/** @throws {RangeError} if there is no such target */
export async function loadTarget(name: string): Promise<FuzzTarget> {
  if (name === TRAPS) return (await import("./targets/traps.ts")).traps;
  return await rowOf(name).load();
}

/** @throws {RangeError} if there is no such target */
export function countsOf(name: string): TargetCounts {
  return rowOf(name);
}

function rowOf(name: string): TargetCounts & { load(): Promise<FuzzTarget> } {
  const row = TARGETS[name];
  if (row !== undefined) return row;
  throw new RangeError(
    `Cannot fuzz '${name}': there is no such target, expected ${TARGET_NAMES.join(", ")}`,
  );
}
