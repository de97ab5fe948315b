import { TransportError, type ParentAddress, type Protocol } from "@damselfly/transport";
import { codeOf } from "@damselfly/transport/conformance";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { contentOf, type Lane, ScriptedPath } from "../../testing/scripted-path.ts";
import type { LegEnd } from "./moving-piece.ts";
import type { Decision } from "./parent-record.ts";
import { TransportChooser } from "./transport-chooser.ts";

const PIECE_LENGTH = 400_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function open(
  lanes: Partial<Record<Protocol, Partial<Lane>>>,
  options: {
    readonly ours?: readonly Protocol[];
    readonly mode?: "auto" | "in order";
    readonly pieceLength?: number;
    readonly rttTo?: (ip: string) => number | undefined;
  } = {},
) {
  const { ours = ["tcp", "quic", "grpc"], mode = "auto", pieceLength = PIECE_LENGTH } = options;
  const path = new ScriptedPath(lanes, pieceLength);
  const decisions: Decision[] = [];
  const ends: LegEnd[] = [];
  const warnings: string[] = [];
  let doubled = 0;
  const chooser = new TransportChooser({
    downloaders: ours.map((protocol) => path.downloader(protocol)),
    mode,
    ...(options.rttTo === undefined ? {} : { rttTo: options.rttTo }),
    observer: {
      decided: (decision) => void decisions.push(decision),
      failed() {},
      moved() {},
      legEnded: (end) => void ends.push(end),
      doubled: (length) => void (doubled += length),
    },
    logger: {
      debug() {},
      info() {},
      warn: (_: object, message: string) => void warnings.push(message),
      error() {},
    },
    now: () => performance.now(),
    random: () => 0.5,
  });
  const stop = new AbortController();
  /** Fetches a piece and compares every byte. Says when it was announced and when it was there. */
  const fetch = async (pieceNumber: number, parent: ParentAddress = path.parent()) => {
    const startedAt = performance.now();
    const { signal } = stop;
    const download = await chooser.downloadPiece(
      parent,
      { taskId: "a".repeat(64), pieceNumber },
      { signal },
    );
    const announcedMs = performance.now() - startedAt;
    let position = 0;
    for await (const chunk of download.content) {
      const wanted = contentOf(pieceNumber, position, chunk.byteLength);
      if (Buffer.compare(chunk, wanted) !== 0) throw new Error(`wrong bytes at ${position}`);
      position += chunk.byteLength;
    }
    expect(position).toBe(pieceLength);
    return { announcedMs, ms: performance.now() - startedAt };
  };
  /** Fetches so many pieces, so many at a time. */
  const fetchAll = async (count: number, { first = 0, width = 4 } = {}): Promise<number> => {
    const startedAt = performance.now();
    let next = first;
    const worker = async (): Promise<void> => {
      while (next < first + count) await fetch(next++);
    };
    await settle(Promise.all(Array.from({ length: width }, worker)));
    return performance.now() - startedAt;
  };
  const totalSent = (): number =>
    Object.values(path.sentBytes).reduce((sum, each) => sum + each, 0);
  return {
    path,
    chooser,
    fetch,
    fetchAll,
    stop,
    decisions,
    ends,
    warnings,
    totalSent,
    doubled: () => doubled,
  };
}

/** Lets time pass until it has settled. */
async function settle<T>(work: Promise<T>): Promise<T> {
  const state = { isOver: false };
  const over = (): void => {
    state.isOver = true;
  };
  work.then(over, over);
  while (!state.isOver) await vi.advanceTimersByTimeAsync(5);
  return await work;
}

const FAR_TCP = { connectMs: 150, announceMs: 50 };
const FAR_QUIC = { connectMs: 100, announceMs: 50 };

describe("TransportChooser on a LAN", () => {
  it("uses TCP for everything and asks nobody else", async () => {
    const { path, fetchAll, decisions } = open({});
    await fetchAll(40);
    expect(new Set(path.asked.map((each) => each.split(" ")[0]))).toEqual(new Set(["tcp"]));
    expect(path.asked).toHaveLength(40);
    expect(decisions.map(({ protocol, reason }) => [protocol, reason])).toEqual([["tcp", "first"]]);
  });

  it("lets the pieces that come together follow the first of them", async () => {
    const { path, fetchAll } = open({ tcp: { connectMs: 40 } });
    await fetchAll(4);
    expect(path.asked).toEqual(["tcp 0", "tcp 1", "tcp 2", "tcp 3"]);
  });

  it("waits for TCP to a parent that is near and busy", async () => {
    const { path, fetchAll } = open(
      { tcp: { connectMs: 300, announceMs: 200 } },
      { rttTo: () => 0.3 },
    );
    await fetchAll(8);
    expect(new Set(path.asked.map((each) => each.split(" ")[0]))).toEqual(new Set(["tcp"]));
  });

  it("asks others within half a second where a parent that is near says nothing over TCP", async () => {
    const { fetch, path } = open({ tcp: { state: "swallows" } }, { rttTo: () => 0.3 });
    const { announcedMs } = await settle(fetch(0));
    expect(announcedMs).toBeLessThan(500);
    expect(path.asked.slice(0, 2)).toEqual(["tcp 0", "quic 0"]);
  });

  it("has a look at QUIC now and then", async () => {
    const { path, fetchAll } = open({}, { pieceLength: 1000 });
    await fetchAll(600);
    const quic = path.asked.filter((each) => each.startsWith("quic"));
    expect(quic).toHaveLength(1);
  });
});

describe("TransportChooser over a long path", () => {
  it("fetches nothing twice, and moves what crawls over TCP to QUIC", async () => {
    const pieceLength = 4_000_000;
    const { fetchAll, totalSent, decisions, doubled, path } = open(
      { tcp: { ...FAR_TCP, connectMs: 120, rate: 300 }, quic: { ...FAR_QUIC, rate: 10_000 } },
      { pieceLength },
    );
    const ms = await fetchAll(64);
    // QUIC alone takes 64 / 4 pieces of 450 ms each, and its handshake.
    expect(ms).toBeLessThan(1.1 * (16 * 450 + 100));
    // A byte or two was to see whether TCP and QUIC work.
    expect(totalSent() - doubled() - 64 * pieceLength).toBeLessThanOrEqual(2);
    expect(doubled()).toBeLessThan(0.01 * 64 * pieceLength);
    expect(path.sentBytes.tcp).toBeLessThan(pieceLength);
    expect(decisions.at(-1)).toMatchObject({ protocol: "quic" });
  });

  it("says how much better the one is that it takes", async () => {
    const { fetchAll, decisions } = open({
      tcp: { ...FAR_TCP, connectMs: 120, rate: 100 },
      quic: { ...FAR_QUIC, rate: 10_000 },
    });
    await fetchAll(60, { width: 1 });
    expect(decisions.map(({ words }) => words).join("\n")).toMatch(
      /^tcp, it answered first, after 120 ms\nquic, /,
    );
  });

  it("stays with TCP where that is the better one", async () => {
    const { fetchAll, path } = open({
      tcp: { ...FAR_TCP, rate: 20_000 },
      quic: { ...FAR_QUIC, rate: 5_000 },
    });
    await fetchAll(200);
    path.asked.length = 0;
    await fetchAll(100, { first: 200 });
    const share = path.asked.filter((each) => each.startsWith("tcp")).length / path.asked.length;
    expect(share).toBeGreaterThan(0.95);
  });
});

describe("TransportChooser where something is in the way", () => {
  it.each([
    ["UDP is swallowed", { quic: { state: "swallows" } }, "tcp"],
    ["the TCP port is closed", { tcp: { state: "refuses" } }, "quic"],
    ["the TCP port swallows everything", { tcp: { state: "swallows" } }, "quic"],
    ["QUIC and TCP are closed", { quic: { state: "refuses" }, tcp: { state: "refuses" } }, "grpc"],
    [
      "QUIC and TCP are swallowed",
      { quic: { state: "swallows" }, tcp: { state: "swallows" } },
      "grpc",
    ],
  ] as const)("goes on when %s, within a second", async (_, lanes, survivor) => {
    const { fetch, fetchAll, path } = open(lanes as Partial<Record<Protocol, Partial<Lane>>>);
    const { announcedMs } = await settle(fetch(0));
    expect(announcedMs).toBeLessThan(400);
    await fetchAll(20, { first: 1 });
    expect(path.asked.at(-1)).toMatch(new RegExp(`^${survivor} `));
  });

  it("goes on over a long path whose UDP is swallowed", async () => {
    const { fetchAll, path, warnings } = open({ tcp: FAR_TCP, quic: { state: "swallows" } });
    const ms = await fetchAll(4);
    expect(ms).toBeLessThan(1_000);
    await vi.advanceTimersByTimeAsync(10_000); // the probes see that nobody is there
    expect(warnings).toEqual([expect.stringMatching(/^quic does not get through, .* 60 s: /)]);
    path.asked.length = 0;
    await fetchAll(40, { first: 4 });
    expect(path.asked.filter((each) => each.startsWith("quic"))).toEqual([]);
  });

  it("leaves out what fails for longer each time, and takes it up again when it works", async () => {
    const { fetch, path, warnings } = open({ tcp: { state: "refuses" } });
    await settle(fetch(0));
    await vi.advanceTimersByTimeAsync(61_000);
    await settle(fetch(1));
    expect(warnings.map((warning) => /for (\d+) s/.exec(warning)?.[1])).toEqual(["60", "120"]);
    path.lanes.tcp.state = "works";
    await vi.advanceTimersByTimeAsync(121_000);
    path.asked.length = 0;
    await settle(fetch(2));
    await settle(fetch(3));
    expect(path.asked).toEqual(["tcp 2", "tcp 3"]);
  });

  it("asks a parent that is somewhere else now without regard to the past", async () => {
    const { fetch, path } = open({ tcp: { state: "refuses" } });
    await settle(fetch(0));
    path.lanes.tcp.state = "works";
    path.asked.length = 0;
    const moved = { ...path.parent(), ip: "192.0.2.8" };
    await settle(fetch(1, moved));
    expect(path.asked).toEqual(["tcp 1"]);
  });

  it("fails when nothing gets through, with the gravest reason, and asks again the next time", async () => {
    const { fetch, path } = open({
      tcp: { state: "refuses" },
      quic: { state: "refuses" },
      grpc: { state: "refuses" },
    });
    for (const number of [0, 1]) {
      const failed = codeOf(fetch(number));
      await vi.advanceTimersByTimeAsync(5_000);
      expect(await failed).toBe("ERR_PARENT_UNREACHABLE");
    }
    expect(path.asked).toHaveLength(6);
    expect(path.runningCount).toBe(0);
  });
});

describe("TransportChooser while a piece runs", () => {
  it("brings the rest another way when it stalls, within seconds", async () => {
    const { fetch, path, totalSent } = open({ tcp: { stallsAt: 100_000 } });
    const { ms } = await settle(fetch(0));
    expect(ms).toBeLessThan(3_000);
    expect(path.asked.slice(0, 2)).toEqual(["tcp 0", "quic 0 from 100000"]);
    expect(totalSent()).toBeLessThan(PIECE_LENGTH + 10);
    expect(path.runningCount).toBe(0);
  });

  it("brings the rest of a piece that somebody else has begun, another way if it must", async () => {
    const { path, chooser, fetchAll, stop } = open({});
    await fetchAll(8);
    path.asked.length = 0;
    path.lanes.tcp.stallsAt = 200_000;
    const read = async (): Promise<Buffer> => {
      const download = await chooser.downloadPiece(
        path.parent(),
        {
          taskId: "a".repeat(64),
          pieceNumber: 9,
          range: { offset: 100_000, length: PIECE_LENGTH - 100_000 },
        },
        { signal: stop.signal, mayTry: false },
      );
      expect(download.piece.length).toBe(PIECE_LENGTH);
      const chunks: Buffer[] = [];
      for await (const chunk of download.content) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks);
    };
    const rest = await settle(read());
    expect(rest.equals(contentOf(9, 100_000, PIECE_LENGTH - 100_000))).toBe(true);
    expect(path.asked.filter((each) => each.includes(" from "))).toEqual([
      "tcp 9 from 100000",
      "quic 9 from 200000",
    ]);
  });

  it("brings the rest over what is known to work when it breaks off", async () => {
    const { fetch, path } = open({ quic: FAR_QUIC, tcp: FAR_TCP });
    for (const number of [0, 1, 2]) await settle(fetch(number));
    for (const protocol of ["tcp", "quic"] as const) {
      if (path.asked.at(-1)!.startsWith(protocol)) path.lanes[protocol].breaksAt = 200_000;
    }
    await settle(fetch(3));
    expect(path.asked.at(-1)).toMatch(/^(tcp|quic) 3 from 200000$/);
  });

  it("fails as the transport does where there is no other way", async () => {
    const { fetch } = open({ tcp: { breaksAt: 100_000 } });
    const failed = codeOf(fetch(0));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await failed).toBe("ERR_PIECE_TRUNCATED");
  });

  it("notices a favourite that has fallen silent before it announces", async () => {
    const { fetch, path, warnings } = open({});
    await settle(fetch(0));
    path.lanes.tcp.state = "swallows";
    const { announcedMs } = await settle(fetch(1));
    expect(announcedMs).toBeLessThan(1_500);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(warnings).toHaveLength(1);
    path.asked.length = 0;
    const { announcedMs: nextMs } = await settle(fetch(2));
    expect([nextMs < 50, path.asked]).toEqual([true, ["quic 2"]]);
  });

  it("tries the other when the favourite has become slow, and takes it if it is better", async () => {
    const { fetchAll, path, decisions } = open({}, { pieceLength: 2_000_000 });
    await fetchAll(40);
    path.lanes.tcp.rate = 5_000;
    await fetchAll(60, { first: 40 });
    expect(decisions.at(-1)).toMatchObject({ protocol: "quic", reason: "faster" });
    expect(decisions.at(-1)!.words).toMatch(/^quic, [\d.]+ MB\/s; tcp gave [\d.]+ MB\/s$/);
    path.asked.length = 0;
    await fetchAll(20, { first: 100 });
    expect(path.asked.every((each) => each.startsWith("quic"))).toBe(true);
  });

  it("ends everything when the consumer leaves, and when the signal aborts", async () => {
    const { chooser, path, stop, ends } = open({});
    const request = { taskId: "a".repeat(64), pieceNumber: 0 };
    const { signal } = stop;
    const left = await settle(chooser.downloadPiece(path.parent(), request, { signal }));
    await settle(
      (async () => {
        for await (const _ of left.content) break;
      })(),
    );
    const unread = await settle(chooser.downloadPiece(path.parent(), request, { signal }));
    await unread[Symbol.asyncDispose]();
    const aborted = await settle(chooser.downloadPiece(path.parent(), request, { signal }));
    const reading = aborted.content[Symbol.asyncIterator]().next();
    reading.catch(() => undefined);
    const reason = new Error("the user left");
    stop.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await expect(chooser.downloadPiece(path.parent(), request, { signal })).rejects.toBe(reason);
    expect(path.runningCount).toBe(0);
    expect(ends.map(({ how }) => how)).toEqual(["given up", "given up", "broken"]);
    await chooser[Symbol.asyncDispose]();
  });
});

describe("TransportChooser with a parent that offers little", () => {
  it("asks a parent without a certificate over TCP alone", async () => {
    const { fetch, path } = open({ tcp: { state: "refuses" } });
    const failed = codeOf(fetch(0, { ...path.parent(), plain: true }));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await failed).toBe("ERR_PARENT_UNREACHABLE");
    expect(path.asked).toEqual(["tcp 0"]);
  });

  it("says so when there is no common protocol", async () => {
    const { fetch, path } = open({}, { ours: ["grpc"] });
    await expect(fetch(0, path.parent("tcp", "quic"))).rejects.toThrow(
      "Cannot fetch from parent: it serves none of grpc",
    );
  });

  it("passes on at once what another protocol would not mend", async () => {
    const { chooser, path } = open({}, { ours: ["grpc"] });
    const refusing = new TransportChooser({
      downloaders: [
        {
          protocol: "tcp",
          downloadPiece: async () => {
            throw new TransportError("ERR_PIECE_NOT_FOUND", "none");
          },
          async [Symbol.asyncDispose]() {},
        },
        path.downloader("quic"),
      ],
      mode: "auto",
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
    const request = { taskId: "a".repeat(64), pieceNumber: 0 };
    const { signal } = new AbortController();
    expect(await codeOf(refusing.downloadPiece(path.parent(), request, { signal }))).toBe(
      "ERR_PIECE_NOT_FOUND",
    );
    expect(path.asked).toEqual([]);
    await chooser[Symbol.asyncDispose]();
  });
});

describe("TransportChooser with a protocol that was asked for by name", () => {
  it("uses it however slow it is, and the others only where it does not get through", async () => {
    const { fetchAll, path } = open(
      { tcp: { ...FAR_TCP, rate: 400 }, quic: { ...FAR_QUIC, rate: 10_000 } },
      { mode: "in order" },
    );
    await fetchAll(8);
    expect(path.asked.every((each) => each.startsWith("tcp"))).toBe(true);
    path.lanes.tcp.state = "refuses";
    await fetchAll(2, { first: 8, width: 1 });
    expect(path.asked.slice(8)).toEqual(["tcp 8", "quic 8", "quic 9"]);
  });

  it("waits for it until it has failed", async () => {
    const { fetch, path } = open({ tcp: { state: "swallows" } }, { mode: "in order" });
    const { announcedMs } = await settle(fetch(0));
    expect(announcedMs).toBeLessThan(2_100);
    await settle(fetch(1));
    expect(path.asked).toEqual(["tcp 0", "quic 0", "quic 1"]);
  });
});

describe("the memory of a TransportChooser", () => {
  it("is bounded", async () => {
    const { chooser, fetch, path } = open({}, { pieceLength: 10 });
    for (let number = 0; number < 30; number += 1) {
      await settle(fetch(number, { ...path.parent(), hostId: `parent-${number % 20}` }));
    }
    expect(chooser.parents).toHaveLength(20);
    expect(chooser.parents.at(-1)!.record.favourite).toBe("tcp");
    const small = new TransportChooser({
      downloaders: [path.downloader("tcp")],
      mode: "auto",
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      parentCountMax: 2,
    });
    const { signal } = new AbortController();
    const request = { taskId: "a".repeat(64), pieceNumber: 0 };
    for (const hostId of ["a", "b", "a", "c"]) {
      const parent = { ...path.parent(), hostId };
      const download = await settle(small.downloadPiece(parent, request, { signal }));
      await download[Symbol.asyncDispose]();
    }
    expect(small.parents.map(({ address }) => address.hostId)).toEqual(["a", "c"]);
  });

  it("is of ten thousand parents", async () => {
    const chooser = new TransportChooser({
      downloaders: [
        {
          protocol: "tcp",
          downloadPiece: () => Promise.reject(new TransportError("ERR_PIECE_NOT_FOUND", "none")),
          async [Symbol.asyncDispose]() {},
        },
      ],
      mode: "auto",
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
    const { signal } = new AbortController();
    const request = { taskId: "a".repeat(64), pieceNumber: 0 };
    const meet = async (first: number, count: number): Promise<void> => {
      for (let name = first; name < first + count; name += 1) {
        const parent = { hostId: `parent-${name}`, ip: "192.0.2.7", ports: { tcp: 4005 } };
        await codeOf(chooser.downloadPiece(parent, request, { signal }));
      }
    };
    const oldest = (): string | undefined => chooser.parents[0]?.address.hostId;
    await meet(0, 10_000);
    expect([chooser.parents.length, oldest()]).toEqual([10_000, "parent-0"]);
    await meet(10_000, 1);
    expect([chooser.parents.length, oldest()]).toEqual([10_000, "parent-1"]);
    await meet(10_001, 20_000);
    expect([chooser.parents.length, oldest()]).toEqual([10_000, "parent-20001"]);
  });
});
