import type { StoredTask } from "@damselfly/storage";
import { RpcError } from "@damselfly/rpc";
import { TransportError } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createContentStream } from "../data-plane/content-stream.ts";
import type { DataPlane, OriginContent, OriginRead, PieceFetch } from "../data-plane/data-plane.ts";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { OriginError } from "../origins/origin-error.ts";
import type { OriginWait } from "../origins/origin.ts";
import type { ParentChannel } from "../parents/parent-channel.ts";
import { ParentHosts } from "../parents/parent-host.ts";
import type { CandidateParent, SchedulerLink } from "../scheduling/scheduler-link.ts";
import { DEFAULT_REQUEST, FakeSession, TASK_ID } from "../testing/fake-cluster.ts";
import { DEFAULT_FLIGHT_LIMITS } from "./flight-limits.ts";
import { Flight, type FlightGuard } from "./flight.ts";
import { registrationOf } from "./registration-of.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const HOUR_MS = 3_600_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A flight of one piece whose surroundings never do anything unless a test says so. Time is the test's. */
function openFlight(
  options: {
    readonly fetchPiece?: (fetch: PieceFetch) => Promise<never>;
    /** Absent: no conversation ever begins. */
    readonly onSession?: (session: FakeSession) => void;
    /** Parents say that they have the piece. */
    readonly offers?: boolean;
    readonly disableBackToSource?: boolean;
    readonly guard?: FlightGuard;
    readonly readOrigin?: (read: OriginRead) => Promise<OriginContent>;
    readonly hosts?: ParentHosts;
    readonly now?: () => number;
  } = {},
) {
  const { onSession, offers = false, disableBackToSource = false } = options;
  const log: string[] = [];
  const note = (_: object, message: string): void => void log.push(message);
  const logger: Logger = { debug() {}, info: note, warn: note, error: note };
  const pieces = new Map();
  const never = new Promise<never>(() => {});
  const facts = {
    taskId: TASK_ID,
    url: "http://origin.test/file",
    contentLength: PIECE_LENGTH,
    pieceLength: PIECE_LENGTH,
    contentVersion: "1",
    etag: '"1"',
    lastModified: "",
    responseHeader: {},
    credentialsDigest: "",
    createdAtMs: 1,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as much of a task as is looked at
  const task = {
    facts,
    pieceCount: 1,
    pieces,
    bounds: () => ({ offset: 0, length: PIECE_LENGTH }),
    retain: () => () => {},
    onChange: () => () => {},
    writePiece: () => never,
  } as unknown as StoredTask;
  let originCount = 0;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- likewise
  const dataPlane = {
    fetchPiece: options.fetchPiece ?? (() => never),
    readOrigin: async (read: OriginRead) => {
      originCount += 1;
      if (options.readOrigin !== undefined) return await options.readOrigin(read);
      throw new OriginError("ERR_ORIGIN_STATUS", "the origin was asked");
    },
  } as unknown as DataPlane;
  let registrationCount = 0;
  const scheduler: SchedulerLink = {
    dialectOf: () => "damselfly",
    async register(registration, { signal }) {
      registrationCount += 1;
      if (onSession === undefined) {
        await new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      }
      const session = new FakeSession(registration, signal);
      onSession?.(session);
      return session;
    },
  };
  const channel: ParentChannel = {
    async *syncPieces({ hostId }, { signal }) {
      if (offers) {
        const address = { hostId, ip: "192.0.2.1", ports: { tcp: 1 } };
        yield { kind: "address", address };
        yield { kind: "piece", number: 0, offset: 0, length: PIECE_LENGTH };
      }
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    },
  };
  const request = { ...DEFAULT_REQUEST, disableBackToSource };
  const flight = new Flight({
    task,
    registration: registrationOf(request, task, "peer", 8),
    originRequest: request.origin,
    rangeable: true,
    dataPlane,
    guard: options.guard,
    scheduler,
    channel,
    hostId: "me",
    hosts: options.hosts ?? new ParentHosts(),
    limits: DEFAULT_FLIGHT_LIMITS,
    logger,
    ...(options.now && { now: options.now }),
  });
  flight.want([0]);
  const startMs = Date.now();
  const state: { end?: { readonly failure: unknown; readonly afterMs: number } } = {};
  const end = (failure: unknown): void => {
    state.end = { failure, afterMs: Date.now() - startMs };
  };
  flight.run().then(() => end(undefined), end);
  /** Until it has ended, within an hour of the test's time. */
  const ended = async (): Promise<{ readonly failure: unknown; readonly afterMs: number }> => {
    while (state.end === undefined && Date.now() - startMs < HOUR_MS)
      await vi.advanceTimersByTimeAsync(1_000);
    if (state.end === undefined) throw new Error("it waits for ever");
    return state.end;
  };
  return {
    flight,
    log,
    ended,
    originCount: () => originCount,
    registrationCount: () => registrationCount,
  };
}

/** Of an origin; nobody gets to the end of it. */
function openBody(): OriginContent {
  const stat = {
    contentLength: PIECE_LENGTH,
    etag: '"1"',
    lastModified: "",
    contentVersion: "1",
    rangeable: true,
    responseHeader: {},
    statusCode: 206,
    digests: [],
  };
  async function* content(): AsyncGenerator<Uint8Array> {}
  return { stat, ...createContentStream(content()) };
}

function parent(number: number): CandidateParent {
  const name = `parent-${number}`;
  const digests = new Map();
  return { peerId: name, hostId: name, hostname: name, ip: "192.0.2.1", port: 1, digests };
}

describe("a flight that waits", () => {
  it("turns to the origin when no conversation with a scheduler ever begins", async () => {
    const { ended, log, originCount } = openFlight();
    const { failure, afterMs } = await ended();
    expect(failure).toMatchObject({ code: "ERR_ORIGIN_STATUS" });
    expect(originCount()).toBe(1);
    expect(afterMs).toBeLessThan(60_000);
    expect(log).toContain("waiting: the scheduler has not answered for 5 s (until 38 s)");
  });

  it("says once what it waits for, and until when", async () => {
    const { ended, log } = openFlight({
      onSession: (session) => session.say({ kind: "parents", parents: [parent(1)] }),
    });
    await ended();
    expect(log.filter((line) => line.startsWith("waiting:"))).toEqual([
      "waiting: no parent has said what it has for 5 s (until 30 s)",
      "waiting: the scheduler has not answered for 5 s (until 38 s)",
    ]);
  });

  it("waits less for parents that another one has waited for in vain", async () => {
    const hosts = new ParentHosts();
    const onSession = (session: FakeSession): void => {
      session.say({ kind: "parents", parents: [parent(1)] });
      session.onReschedule = () => session.say({ kind: "origin", reason: "nobody else" });
    };
    const [first, second] = [
      await openFlight({ hosts, onSession }).ended(),
      await openFlight({ hosts, onSession }).ended(),
    ];
    expect(first.afterMs).toBeGreaterThanOrEqual(30_000);
    expect(second.afterMs).toBeLessThan(7_000);
  });

  it.each([
    [false, "ERR_ORIGIN_STATUS"],
    [true, "ERR_NO_SOURCE"],
  ])(
    "does not go on for ever with a scheduler that names ever new parents of no use (origin forbidden: %s)",
    async (disableBackToSource, code) => {
      let count = 0;
      const { ended } = openFlight({
        disableBackToSource,
        onSession: (session) => {
          const name = (): void => {
            session.say({ kind: "parents", parents: [parent((count += 1))] });
          };
          session.onReschedule = name;
          name();
        },
      });
      const { failure, afterMs } = await ended();
      expect(failure).toMatchObject({ code });
      expect(count).toBeGreaterThan(5);
      expect(afterMs).toBeLessThan(400_000);
    },
  );

  it("says that the origin is left alone, for how long and why, whoever was told so, and that it is silent", async () => {
    const watched: { url?: string; tell?: (wait: OriginWait) => void } = {};
    const { flight, ended } = openFlight({
      onSession: (session) => session.say({ kind: "origin", reason: "test" }),
      guard: {
        mayAsk: () => true,
        noteFailure() {},
        watch: ({ url }, listener) => {
          watched.url = url;
          watched.tell = listener;
          return () => void delete watched.tell;
        },
      },
      readOrigin: () => new Promise(() => {}),
    });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(flight.wait()).toMatchObject({ reason: "origin" });
    const reason = "Cannot read http://origin.test/file: origin answered 503, Retry-After: 30";
    watched.tell?.({ kind: "asked", waitMs: 30_000, reason, attempt: 1 });
    await vi.advanceTimersByTimeAsync(10_000);
    const wait = flight.wait();
    expect(wait).toMatchObject({
      reason: "origin-retry",
      description:
        "the origin has been left alone, as it asked (origin answered 503, Retry-After: 30)",
    });
    expect(wait?.untilMs).toBe(wait!.sinceMs + 30_000);
    await vi.advanceTimersByTimeAsync(21_000);
    expect(flight.wait()).toMatchObject({
      reason: "origin",
      description: "the origin has sent nothing",
    });
    expect(watched.url).toBe("http://origin.test/file");
    flight.abort(new Error("enough"));
    await ended();
    expect(watched.tell).toBeUndefined();
  });

  it("fails when the disk takes nothing more, and does not wait for it to come back", async () => {
    const { ended, log } = openFlight({
      offers: true,
      onSession: (session) => session.say({ kind: "parents", parents: [parent(1)] }),
      fetchPiece: (fetch) => {
        fetch.hedging?.began(() => {});
        fetch.hedging?.tookOver(0, { offset: 0, doubled: 0, latestId: 0 });
        fetch.onBytes?.(1_000);
        return new Promise(() => {});
      },
    });
    const { failure, afterMs } = await ended();
    expect(failure).toMatchObject({ code: "ERR_IO" });
    expect(String(failure)).toContain("the disk has taken nothing more of piece 0 for 120 s");
    expect(afterMs).toBeLessThan(140_000);
    expect(log).toContain(
      "waiting: the disk has taken nothing more of piece 0 for 5 s (until 120 s)",
    );
  });

  it("fails likewise when it reads the origin, and does not blame that", async () => {
    const { ended, log } = openFlight({
      onSession: (session) => session.say({ kind: "origin", reason: "test" }),
      readOrigin: async ({ onBytes }) => {
        setTimeout(() => onBytes?.(1_000), 1);
        return openBody();
      },
    });
    const { failure, afterMs } = await ended();
    expect(failure).toMatchObject({ code: "ERR_IO" });
    expect(String(failure)).toContain("the disk has taken nothing more of piece 0 for 120 s");
    expect(afterMs).toBeLessThan(140_000);
    expect(log.filter((line) => line.startsWith("waiting:"))).toEqual([
      "waiting: the disk has taken nothing more of piece 0 for 5 s (until 120 s)",
    ]);
  });

  it("does not take time in which it did not run for a disk that hangs", async () => {
    let pausedMs = 0;
    const { flight, ended } = openFlight({
      onSession: (session) => session.say({ kind: "origin", reason: "test" }),
      readOrigin: async () => openBody(),
      now: () => performance.now() + pausedMs,
    });
    await vi.advanceTimersByTimeAsync(10_000);
    pausedMs = HOUR_MS / 2;
    await vi.advanceTimersByTimeAsync(100_000);
    expect(flight.over).toBe(false);
    await vi.advanceTimersByTimeAsync(20_000);
    expect((await ended()).failure).toMatchObject({ code: "ERR_IO" });
  });

  it("asks a parent that was busy again, though the machine's clock is set back", async () => {
    let count = 0;
    const { flight, ended } = openFlight({
      offers: true,
      onSession: (session) => session.say({ kind: "parents", parents: [parent(1)] }),
      fetchPiece: async () => {
        count += 1;
        throw new TransportError("ERR_PARENT_BUSY", "Cannot fetch: it is busy");
      },
    });
    await vi.advanceTimersByTimeAsync(1_000);
    const before = count;
    expect(before).toBeGreaterThan(0);
    vi.setSystemTime(Date.now() - HOUR_MS);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(count).toBeGreaterThan(before);
    expect(flight.wait()).toBeDefined();
    flight.abort(new Error("enough"));
    await ended();
  });

  it.each([
    ["the machine's clock is set forward", HOUR_MS / 6, 0],
    ["this process has been stopped for a while", HOUR_MS / 6, HOUR_MS / 6],
  ])("goes on with parents from whom bytes come when %s", async (_, setMs, missedMs) => {
    let pausedMs = 0;
    const { flight, ended } = openFlight({
      offers: true,
      disableBackToSource: true,
      ...(missedMs > 0 && { now: () => performance.now() + pausedMs }),
      onSession: (session) => session.say({ kind: "parents", parents: [parent(1)] }),
      fetchPiece: ({ hedging, onBytes, signal }) => {
        hedging?.began(() => {});
        hedging?.tookOver(0, { offset: 0, doubled: 0, latestId: 0 });
        const timer = setInterval(() => onBytes?.(10_000), 1_000);
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            clearInterval(timer);
            reject(signal.reason);
          });
        });
      },
    });
    await vi.advanceTimersByTimeAsync(10_000);
    vi.setSystemTime(Date.now() + setMs);
    pausedMs = missedMs;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(flight.over).toBe(false);
    flight.abort(new Error("enough"));
    await ended();
  });

  it("does not take an origin that falls silent for a disk", async () => {
    const { flight, ended } = openFlight({
      onSession: (session) => session.say({ kind: "origin", reason: "test" }),
      readOrigin: async ({ onWaited }) => {
        setInterval(() => onWaited?.(200), 200);
        return openBody();
      },
    });
    await vi.advanceTimersByTimeAsync(200_000);
    expect(flight.wait()).toMatchObject({ reason: "origin" });
    flight.abort(new Error("enough"));
    await ended();
  });

  it.each([
    ["its parents are slow", 900, true],
    ["it may not go faster", 0, false],
  ])("has help sought when %s only if that is others' fault", async (_, waitedMs, isSought) => {
    const told: string[] = [];
    const { flight, ended } = openFlight({
      offers: true,
      onSession: (session) => {
        session.onReschedule = () => void told.push("help");
        session.say({ kind: "parents", parents: [parent(1)] });
      },
      fetchPiece: ({ hedging, onBytes, signal }) => {
        hedging?.began(() => {});
        hedging?.tookOver(0, { offset: 0, doubled: 0, latestId: 0 });
        // A hundred bytes a second, of four MiB.
        const timer = setInterval(() => {
          hedging?.waited(waitedMs);
          onBytes?.(100);
        }, 1_000);
        return new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            clearInterval(timer);
            reject(signal.reason);
          });
        });
      },
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(told.length > 0).toBe(isSought);
    flight.abort(new Error("enough"));
    await ended();
  });

  it("does not register again and again at once with a scheduler that knows it no more each time", async () => {
    const { ended, registrationCount } = openFlight({
      onSession: (session) => {
        session.say({ kind: "parents", parents: [] });
        const cause = new RpcError("NOT_FOUND", "host me not found");
        setTimeout(() => session.end(new DaemonError("ERR_SCHEDULER", "gone", { cause })), 10);
      },
    });
    await vi.advanceTimersByTimeAsync(30_000);
    expect(registrationCount()).toBeGreaterThan(2);
    expect(registrationCount()).toBeLessThan(100);
    const { failure } = await ended();
    expect(failure).toMatchObject({ code: "ERR_ORIGIN_STATUS" });
  });
});
