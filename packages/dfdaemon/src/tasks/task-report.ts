import { redactUrl } from "../origins/redact-url.ts";
import type { DownloadCall } from "./download-call.ts";
import type { DownloadRequest } from "./download-request.ts";
import type { Flight } from "./flight.ts";
import type { FlightReport } from "./flight-report.ts";
import type { Wait } from "./wait.ts";

/** A task that is being downloaded: what `GET /api/tasks` answers, for each. Lengths are bytes, rates bytes a second, times milliseconds. */
export interface TaskReport {
  readonly taskId: string;
  /** Without what may be secret. */
  readonly url: string;
  /** Who waits for it: programs on this node, or whoever asked over the network. */
  readonly callerCount: number;
  /** Peers that are told of its pieces. */
  readonly childCount: number;
  /** `moving`, or what it waits for. */
  readonly state: Wait["reason"] | "moving";
  /** In words; empty while something moves. */
  readonly description: string;
  /** For how long it has been so; null while something moves. */
  readonly waitedMs: number | null;
  /** When something else is done about it, at the latest, from the beginning of the wait; null: not known. */
  readonly boundMs: number | null;
  /** Since somebody asked for it, or its download began. */
  readonly elapsedMs: number;
  /** Null until the origin has said what the file is. */
  readonly content: {
    readonly length: number;
    readonly finishedLength: number;
    readonly pieceCount: number;
    readonly finishedCount: number;
  } | null;
  /** Null while nothing is fetched. */
  readonly transfer: {
    readonly receivedLength: number;
    readonly rate: number;
    readonly scheduler: string | null;
    readonly origin: { readonly byteCount: number; readonly inFlight: number } | null;
    readonly parents: readonly {
      readonly hostId: string;
      readonly state: FlightReport["parents"][number]["state"] | "dropped";
      readonly inFlight: number;
      readonly byteCount: number;
      readonly rate: number | null;
    }[];
    readonly pieces: FlightReport["pieces"];
  } | null;
}

/** Somebody who waits for a task. */
export interface RunningCall {
  readonly request: Pick<DownloadRequest, "taskId" | "origin">;
  readonly call: DownloadCall;
}

/** @param calls of one task; at least one, or a flight */
export function reportTask(
  taskId: string,
  about: {
    readonly url: string;
    readonly calls: readonly RunningCall[];
    readonly flight: Flight | undefined;
    readonly childCount: number;
    /** On the clock of flights. */
    readonly nowMs: number;
  },
): TaskReport {
  const { url, calls, flight, childCount, nowMs } = about;
  const report = flight?.report();
  const wait =
    flight === undefined
      ? calls.map(({ call }) => call.wait()).find((each) => each !== undefined)
      : flight.wait();
  const startedMs = Math.min(
    ...calls.map(({ call }) => call.startedMs),
    report?.startedMs ?? nowMs,
  );
  return {
    taskId,
    url: redactUrl(url),
    callerCount: calls.length,
    childCount,
    state: wait?.reason ?? "moving",
    description: wait?.description ?? "",
    waitedMs: wait === undefined ? null : Math.round(nowMs - wait.sinceMs),
    boundMs: wait?.untilMs === undefined ? null : Math.round(wait.untilMs - wait.sinceMs),
    elapsedMs: Math.round(nowMs - startedMs),
    content: flight === undefined ? null : contentOf(flight),
    transfer: report === undefined ? null : transferOf(report),
  };
}

function contentOf({ task }: Flight): TaskReport["content"] {
  const finished = [...task.pieces.values()];
  return {
    length: task.facts.contentLength,
    finishedLength: finished.reduce((sum, { length }) => sum + length, 0),
    pieceCount: task.pieceCount,
    finishedCount: finished.length,
  };
}

function transferOf(report: FlightReport): TaskReport["transfer"] {
  const { receivedLength, rate, scheduler, origin, parents, bytesByParent, pieces } = report;
  const known = new Set(parents.map(({ hostId }) => hostId));
  const dropped = [...bytesByParent].filter(([hostId]) => !known.has(hostId));
  return {
    receivedLength,
    rate: Math.round(rate * 1000),
    scheduler: scheduler ?? null,
    origin: origin ?? null,
    parents: [
      ...parents.map((parent) => ({
        hostId: parent.hostId,
        state: parent.state,
        inFlight: parent.inFlight,
        byteCount: bytesByParent.get(parent.hostId) ?? 0,
        rate: parent.rate === undefined ? null : Math.round(parent.rate * 1000),
      })),
      ...dropped.map(([hostId, byteCount]) => ({
        hostId,
        state: "dropped" as const,
        inFlight: 0,
        byteCount,
        rate: null,
      })),
    ],
    pieces,
  };
}
