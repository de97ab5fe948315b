import { describe, expect, it } from "vitest";
import { describeWait, type FlightView, type PieceWaitView } from "./flight-wait.ts";
import { formatWait } from "./wait.ts";

const NOW = 1_000_000;
const NOTHING: FlightView = {
  nowMs: NOW,
  movedMs: NOW - 10_000,
  pieces: [],
  origin: undefined,
  parents: {
    count: 0,
    answeredCount: 0,
    offeringCount: 0,
    restUntilMs: -Infinity,
    namedMs: NOW - 60_000,
    untilMs: NOW + 20_000,
  },
  scheduler: { state: "asked", sinceMs: NOW - 12_000, untilMs: NOW + 31_000 },
  bounds: { announcementMs: 30_000, contentMs: 15_000, diskMs: 120_000, dataPlaneMs: 30_000 },
};
const PIECE: PieceWaitView = {
  number: 3,
  from: ["10.0.0.2-n2"],
  isFetched: true,
  isAnnounced: true,
  awaitsRoom: false,
  silentMs: 4_000,
  movedMs: NOW - 4_000,
};
const PARENTS = { ...NOTHING.parents, count: 2, answeredCount: 2 };
const ORIGIN = { inFlight: 2, bodies: [], sinceMs: NOW - 6_000, pause: undefined };

const told = (view: Partial<FlightView>): string | undefined => {
  const wait = describeWait({ ...NOTHING, ...view });
  return wait && `${wait.reason}: ${formatWait(wait, NOW)}`;
};

describe("describeWait", () => {
  it.each<[string, Partial<FlightView>, string | undefined]>([
    ["nothing while bytes come", { movedMs: NOW - 1_000, pieces: [PIECE] }, undefined],
    ["the scheduler", {}, "scheduler: the scheduler has not answered for 12 s (until 43 s)"],
    [
      "a scheduler that is lost",
      { scheduler: { state: "lost", sinceMs: NOW - 2_000, untilMs: NOW + 1_000 } },
      "scheduler-lost: the scheduler has been out of reach for 2 s (until 3 s)",
    ],
    [
      "the next question to a scheduler that knows nobody",
      { scheduler: { state: "pausing", sinceMs: NOW - 1_000, untilMs: NOW + 4_000 } },
      "scheduler-pause: the scheduler has known nobody of use for 1 s (until 5 s)",
    ],
    [
      "parents that have not said anything",
      { parents: { ...PARENTS, answeredCount: 0 } },
      "parents: no parent has said what it has for 10 s (until 30 s)",
    ],
    [
      "parents that have nothing",
      { parents: PARENTS },
      "pieces: no parent has had what is missing for 10 s (until 30 s)",
    ],
    [
      "parents that are busy, or rest",
      { parents: { ...PARENTS, offeringCount: 1, restUntilMs: NOW + 400 } },
      "rest: the parents that have what is missing have been busy, or failing for 10 s (until 30 s)",
    ],
    [
      "bytes of a piece",
      { pieces: [PIECE] },
      "content: nothing has come of piece 3 from 10.0.0.2-n2 for 4 s (until 15 s)",
    ],
    [
      "an announcement, of two who were asked",
      { pieces: [{ ...PIECE, isAnnounced: false, from: ["a", "origin"] }, PIECE] },
      "announcement: a and origin has not announced piece 3 (and 1 more) for 4 s (until 30 s)",
    ],
    [
      "the disk",
      { pieces: [PIECE, { ...PIECE, number: 4, silentMs: 100, movedMs: NOW - 9_000 }] },
      "disk: the disk has taken nothing more of piece 4 for 9 s (until 120 s)",
    ],
    [
      "a process that moves content",
      { pieces: [PIECE, { ...PIECE, isFetched: false, movedMs: NOW - 3_000 }] },
      "data-plane: there has been no process to move content for 3 s (until 30 s)",
    ],
    [
      "the memory that others have",
      {
        pieces: [3_000, 4_000].map((ms) => ({
          ...PIECE,
          isAnnounced: false,
          awaitsRoom: true,
          silentMs: 0,
          movedMs: NOW - ms,
        })),
      },
      "memory: other downloads have had all the memory for content for 3 s",
    ],
    ["the origin", { origin: ORIGIN }, "origin: the origin has sent nothing for 6 s"],
    [
      "the origin that has begun to send",
      { origin: { ...ORIGIN, bodies: [{ number: 3, silentMs: 9_000, movedMs: NOW - 10_000 }] } },
      "origin: the origin has sent nothing for 6 s",
    ],
    [
      "the disk, of what the origin has sent",
      { origin: { ...ORIGIN, bodies: [{ number: 3, silentMs: 1_000, movedMs: NOW - 10_000 }] } },
      "disk: the disk has taken nothing more of piece 3 for 10 s (until 120 s)",
    ],
    [
      "the origin that asks for patience",
      {
        origin: {
          ...ORIGIN,
          pause: {
            reason: "origin-retry",
            description: "the origin has been left alone, as it asked (503, Retry-After: 60)",
            sinceMs: NOW - 5_000,
            untilMs: NOW + 55_000,
          },
        },
      },
      "origin-retry: the origin has been left alone, as it asked (503, Retry-After: 60) for 5 s (until 60 s)",
    ],
    ["nothing where there is no scheduler and nobody else", { scheduler: undefined }, undefined],
  ])("names %s", (_, view, expected) => {
    expect(told(view)).toBe(expected);
  });
});
