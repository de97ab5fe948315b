import * as fc from "fast-check";
import { describe, it } from "vitest";
import { MemoryNetwork } from "./testing/memory-network.ts";
import { runScript, type Script, type Step } from "./testing/run-script.ts";

/** `QUIC_MODEL_RUNS=1000` looks longer; `QUIC_MODEL_SEED` and `QUIC_MODEL_PATH` repeat what failed. */
const { QUIC_MODEL_RUNS, QUIC_MODEL_SEED, QUIC_MODEL_PATH } = process.env;

describe("QuicStream", () => {
  it("does what its model does, over a perfect network", async () => {
    await check(30, script(false), endpoint(fc.constant({})));
  });

  it("does what its model does, over a network that loses, repeats and delays", async () => {
    const network = fc.record({
      start: fc.integer({ min: 1, max: 1_000_000 }),
      loss: fc.constantFrom(0, 0.01, 0.02),
      repeat: fc.constantFrom(0, 0.1),
      delay: fc.constantFrom(0, 0.1, 0.5),
    });
    await check(
      15,
      script(true),
      endpoint(network).map((options) => ({ ...options, idleTimeoutMs: 1000 })),
    );
  });

  it("does what its model does, over loopback", async () => {
    await check(10, script(false), fc.record({ limits, packetLength }));
  });
});

async function check(
  runs: number,
  scripts: fc.Arbitrary<Script>,
  options: fc.Arbitrary<Parameters<typeof runScript>[1]>,
): Promise<void> {
  const numRuns = QUIC_MODEL_RUNS === undefined ? runs : Number(QUIC_MODEL_RUNS);
  await fc.assert(fc.asyncProperty(scripts, options, runScript), {
    numRuns,
    ...(QUIC_MODEL_SEED === undefined ? {} : { seed: Number(QUIC_MODEL_SEED) }),
    ...(QUIC_MODEL_PATH === undefined
      ? { endOnFailure: true }
      : { path: QUIC_MODEL_PATH, endOnFailure: true }),
  });
}

const packetLength = fc.constantFrom(1200, 1350, 16_383);
const limits = fc.record({
  streamWindow: fc.constantFrom(1000, 20_000, 100_000, 1_000_000),
  peerStreamWindow: fc.constantFrom(1000, 20_000, 100_000),
});

function endpoint(network: fc.Arbitrary<ConstructorParameters<typeof MemoryNetwork>[0]>) {
  return fc.record({ network, limits, packetLength }).map(({ network: options, ...others }) => ({
    ...others,
    udp: new MemoryNetwork(options).open,
  }));
}

function script(isLossy: boolean): fc.Arbitrary<Script> {
  const side = fc.constantFrom(0 as const, 1 as const);
  const connection = fc.nat({ max: 3 });
  const way = fc.nat({ max: 1000 });
  const length = fc.oneof(fc.constantFrom(0, 1, 1199, 70_000, 300_000), fc.nat({ max: 5000 }));
  const room = fc.oneof(fc.constantFrom(1, 65_536), fc.integer({ min: 1, max: 5000 }));
  const largeRoom = fc.integer({ min: 500, max: 65_536 });
  const leastLength = fc.constantFrom(1, 1, 1000, 65_536);
  const code = fc.oneof(fc.nat({ max: 1000 }), fc.constant(Number.MAX_SAFE_INTEGER));
  const rest = fc.record({ do: fc.constant("rest" as const), turns: fc.nat({ max: 12 }) });
  const open = fc.record({ do: fc.constant("open" as const), connection, side });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 1, arbitrary: fc.record({ do: fc.constant("dial" as const), side }) },
    { weight: 6, arbitrary: open },
    { weight: 10, arbitrary: fc.record({ do: fc.constant("write" as const), way, length }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("end" as const), way, length }) },
    {
      weight: 10,
      arbitrary: fc.record({ do: fc.constant("read" as const), way, length: room, leastLength }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant("readAll" as const), way, length: largeRoom }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("reset" as const), way, code }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("stopReading" as const), way, code }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("deafen" as const), connection, side }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("retain" as const), connection, side }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("close" as const), connection, side, code }),
    },
    { weight: 10, arbitrary: rest },
  );
  return fc.record({
    isLossy: fc.constant(isLossy),
    steps: fc.array(step, { minLength: 10, maxLength: 80, size: "max" }),
    finish: fc.constantFrom("settle", "settle", "settle", "close", "dispose", "abort"),
  });
}
