import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../logger.ts";
import type { WorkerInit, WorkerReady } from "../protocol.ts";
import { createMemoryChannels } from "../testing/memory-channel.ts";
import { QuicPolicy } from "./quic-policy.ts";
import type { ProcessEnd, WorkerProcess } from "./worker-process.ts";
import { WorkerSlot } from "./worker-slot.ts";

const READY: WorkerReady = {
  offers: [
    { protocol: "tcp", ports: [1], tls: true },
    { protocol: "quic", ports: [2], tls: true },
  ],
  quinnPort: 3,
};
const KILLED: ProcessEnd = { reason: "was ended by SIGKILL", signal: "SIGKILL", exitCode: null };
const NO_DESCRIPTORS: ProcessEnd = {
  reason: "could not be started: spawn EMFILE",
  signal: null,
  exitCode: null,
  cause: new Error("spawn EMFILE"),
};

/** What becomes of a process. */
type Script = "serves" | "hangs" | "has no descriptors";

interface ScriptedProcess extends WorkerProcess {
  /** It serves after all. */
  serve(): void;
}

function createProcess(script: Script): ScriptedProcess {
  const [control, own] = createMemoryChannels();
  let end: (end: ProcessEnd) => void = () => {};
  const ended = new Promise<ProcessEnd>((resolve) => (end = resolve));
  if (script === "has no descriptors") setImmediate(() => end(NO_DESCRIPTORS));
  const answer = (id: number): void => own.send({ kind: "result", id, value: READY });
  let serves = script === "serves";
  let starting: number | undefined;
  own.onMessage = (message) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of it as is looked at
    const { id, name } = message as { readonly id: number; readonly name?: string };
    if (name === "start") starting = id;
    if (name === "stop" || (name === "start" && serves)) answer(id);
  };
  void own.closed.then(() => end({ reason: "ended with code 0", signal: null, exitCode: 0 }));
  return {
    pid: undefined,
    channel: control,
    ended,
    handOver: (_, socket) => void socket.destroy(),
    untaken: () => [],
    kill: () => end(KILLED),
    serve() {
      serves = true;
      if (starting !== undefined) answer(starting);
    },
  };
}

/** A slot whose processes do what the scripts say, one after the other. */
function createSlot(scripts: readonly Script[]) {
  const processes: ScriptedProcess[] = [];
  /** Of each process, whether it was told to do without QUIC. */
  const withoutQuic: boolean[] = [];
  const quic: QuicPolicy = new QuicPolicy(() => slot.leaveQuicOut());
  const slot = new WorkerSlot({
    number: 0,
    spawn: () => {
      const process = createProcess(scripts[processes.length] ?? "serves");
      processes.push(process);
      return process;
    },
    initOf: (state) => {
      withoutQuic.push(state.withoutQuic);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nobody looks at it
      return {} as WorkerInit;
    },
    surroundings: {
      storage: { locatePiece: () => Promise.reject(new Error("nobody asks")) },
      observer: {
        originAsked() {},
        originAnswered() {},
        pieceUploadStarted() {},
        pieceUploadEnded() {},
        sent() {},
      },
      logger: SILENT_LOGGER,
    },
    quic,
    observer: { dataPlaneReplaced() {} },
    onReady() {},
    logger: SILENT_LOGGER,
  });
  return { slot, quic, processes, withoutQuic };
}

describe("WorkerSlot", () => {
  it("says why the first process cannot be started", async () => {
    const { slot } = createSlot(["has no descriptors"]);
    await expect(slot.open()).rejects.toMatchObject({
      code: "ERR_DATA_PLANE",
      message: "Cannot start a data-plane process: spawn EMFILE",
      cause: NO_DESCRIPTORS.cause,
    });
    await slot.stop();
  });

  it("tries again while there is nothing to start a process with, and does not blame QUIC", async () => {
    const none = "has no descriptors";
    const { slot, quic, processes } = createSlot(["serves", none, none, none, "serves"]);
    await slot.open();
    processes[0]!.kill();
    await expect.poll(() => processes.length, { timeout: 10_000 }).toBe(5);
    await slot.running();
    expect(quic.isLeftOut).toBe(false);
    await slot.stop();
  });

  it("has a process that was being started when QUIC was left out give way to one that does without", async () => {
    const { slot, quic, processes, withoutQuic } = createSlot(["serves", "hangs"]);
    await slot.open();
    processes[0]!.kill();
    await expect.poll(() => processes.length).toBe(2);
    for (let count = 0; count < 3; count += 1) quic.ended(performance.now());
    processes[1]!.serve();
    const worker = await slot.running();
    expect(slot.current).toBe(worker);
    expect(withoutQuic).toEqual([false, false, true]);
    await slot.stop();
  });

  it("knows what was served last while a process is replaced, less QUIC when that is left out", async () => {
    const { slot, quic, processes } = createSlot(["serves", "hangs"]);
    expect(slot.lastReady).toBeUndefined();
    await slot.open();
    processes[0]!.kill();
    await expect.poll(() => processes.length).toBe(2);
    expect(slot.current).toBeUndefined();
    expect(slot.lastReady).toEqual(READY);
    for (let count = 0; count < 3; count += 1) quic.ended(performance.now());
    expect(slot.lastReady).toEqual({ offers: [READY.offers[0]], quinnPort: undefined });
    await slot.stop();
  });

  it("does not wait for a process that hangs in its start when it is stopped", async () => {
    const { slot, processes } = createSlot(["serves", "hangs"]);
    await slot.open();
    processes[0]!.kill();
    await expect.poll(() => processes.length).toBe(2);
    await slot.stop();
    expect(processes).toHaveLength(2);
  });
});
