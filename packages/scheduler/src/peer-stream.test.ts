import { FakeClock } from "@damselfly/limits/testing";
import {
  type AnnouncePeerRequest,
  type AnnouncePeerRequest__Output,
  type AnnouncePeerResponse,
  type Download,
  loadService,
} from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import type { Peer } from "./peer.ts";
import { servePeerStream } from "./peer-stream.ts";
import { DEFAULT_SCHEDULER_LIMITS, type SchedulerLimits } from "./scheduler-limits.ts";
import { downloadFacts, TestCluster } from "./test-cluster.ts";

const IDS = { hostId: "a", taskId: "task", peerId: "a" };
const PIECE = { cost: { seconds: 0, nanos: 1 }, createdAt: { seconds: 1 }, length: 4, digest: "" };

/** As it would come off the wire. */
function request(fields: AnnouncePeerRequest): AnnouncePeerRequest__Output {
  const method = loadService("scheduler.v2.Scheduler").methods.get("announcePeer")!;
  const sent = method.requestDeserialize(method.requestSerialize({ ...IDS, ...fields }));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types are generated from the same files
  return sent as AnnouncePeerRequest__Output;
}

/** A call of peer `a` that says what it is told to, and reads when it is told to. */
class TestCall {
  readonly cluster: TestCluster;
  readonly clock = new FakeClock();
  readonly answers: AnnouncePeerResponse[] = [];
  isReading = true;
  outcome: unknown = "running";
  readonly #requests: AnnouncePeerRequest__Output[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #taskId: string;
  #isOver = false;

  constructor(
    limits: Partial<SchedulerLimits> = {},
    takesPushes = true,
    {
      cluster = new TestCluster(),
      task = "task",
      download = {},
    }: {
      readonly cluster?: TestCluster;
      readonly task?: string;
      readonly download?: Download;
    } = {},
  ) {
    this.cluster = cluster;
    this.#taskId = task;
    this.cluster.host("a");
    const { signal } = new AbortController();
    const call = {
      signal,
      closing: signal,
      peer: "",
      peerIp: "192.0.2.1",
      userAgent: "",
      peerCertificate: undefined,
      requests: this.#read(),
      write: async (message: AnnouncePeerResponse) => {
        while (!this.isReading) await new Promise<void>((resolve) => this.#waiting.push(resolve));
        this.answers.push(message);
      },
    };
    servePeerStream(call, {
      scheduling: this.cluster.scheduling,
      checkHost: () => {},
      limits: { ...DEFAULT_SCHEDULER_LIMITS, ...limits },
      clock: this.clock,
    }).then(
      () => (this.outcome = "ended"),
      (error: unknown) => (this.outcome = error),
    );
    const extension = takesPushes ? { version: 1, contentVersion: "1" } : null;
    this.say({ registerPeerRequest: { download: downloadFacts(download), extension } });
  }

  get peer(): Peer {
    return this.cluster.scheduling.peer(this.#taskId, "a");
  }

  say(fields: AnnouncePeerRequest): void {
    this.#requests.push(request({ taskId: this.#taskId, ...fields }));
    this.#wake();
  }

  read(): void {
    this.isReading = true;
    this.#wake();
  }

  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async *#read(): AsyncGenerator<AnnouncePeerRequest__Output, void, undefined> {
    for (;;) {
      const next = this.#requests.shift();
      if (next !== undefined) yield next;
      else if (this.#isOver) return;
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

describe("servePeerStream", () => {
  it("takes as many reports at once as a peer may make, and further ones no faster than that", async () => {
    const call = new TestCall({ reportsPerSecondMax: 10 });
    for (let number = 0; number < 100; number += 1) {
      call.say({ downloadPieceFinishedRequest: { piece: { ...PIECE, number } } });
    }
    await call.clock.pass(0);
    expect(call.peer.pieces.size).toBeLessThanOrEqual(10); // the task has ten
    const before = call.peer.updatedAtMs;
    expect(before).toBe(call.cluster.nowMs);
    call.say({ downloadPeerFinishedRequest: {} });
    call.end();
    await call.clock.pass(7_000);
    expect(call.outcome).toBe("running");
    await call.clock.pass(2_000);
    expect(call.outcome).toBe("ended");
  });

  it("ends the stream of a peer that asks and asks and reads nothing", async () => {
    const call = new TestCall({ waitingMessageCountMax: 8 }, false);
    await call.clock.pass(0);
    expect(call.answers).toHaveLength(1);
    call.isReading = false;
    for (let count = 0; count < 1_000; count += 1) {
      call.say({ reschedulePeerRequest: { candidateParents: [] } });
    }
    await call.clock.pass(0);
    call.read();
    await call.clock.pass(0);
    expect(call.outcome).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(call.answers.length).toBeLessThan(12);
    expect(() => call.peer).toThrow("not found");
  });

  it("tells digests in messages of a bounded length, all of them", async () => {
    const count = 70_000;
    const call = new TestCall();
    const download = { actualPieceCount: count, actualContentLength: 4 * count };
    const reader = call.cluster.join("reader", { task: "long", download });
    for (let number = 0; number < count; number += 1) call.cluster.originPiece(reader, number);
    const child = new TestCall({}, true, { cluster: call.cluster, task: "long", download });
    await child.clock.pass(0);
    const told = child.answers.map(({ normalTaskResponse }) =>
      (normalTaskResponse?.candidateParents ?? []).flatMap(({ task }) => task?.pieces ?? []),
    );
    expect(told.map(({ length }) => length)).toEqual([32_768, 32_768, 4_464]);
    expect(new Set(told.flat().map(({ number }) => number)).size).toBe(count);
  });
});
