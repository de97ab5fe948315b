import type { StoredTask } from "@damselfly/storage";
import { DaemonError } from "../errors.ts";
import { steadyNow } from "../steady-now.ts";
import { toError } from "../to-error.ts";
import type { DownloadRequest } from "./download-request.ts";
import type { Flight } from "./flight.ts";
import type { RunningFlight } from "./task-preparer.ts";

/** A download under way, and who waits for it. */
export interface SharedFlight {
  /** Of the caller who began it: whom it asks, and with what rights. */
  readonly request: DownloadRequest;
  readonly flight: Flight;
  /** On the clock of flights. Milliseconds. */
  readonly startedMs: number;
  /** Callers that wait for it. */
  readonly riderCount: number;
  /** Children that are told of its pieces. */
  readonly childCount: number;
  /** It was told to end, or has ended. */
  readonly ending: boolean;
  /** Resolves when the flight has ended, with its failure if it failed. */
  readonly ended: Promise<Error | undefined>;
}

/** The downloads under way, one a task. Each ends when nobody waits for it any more. */
export class TaskFlights {
  readonly #flights = new Map<string, Shared>();
  readonly #onDone: (shared: SharedFlight) => void;

  /** @param onDone a flight has brought what was wanted of it */
  constructor(onDone: (shared: SharedFlight) => void) {
    this.#onDone = onDone;
  }

  get(taskId: string): SharedFlight | undefined {
    return this.#flights.get(taskId);
  }

  [Symbol.iterator](): Iterator<[string, SharedFlight]> {
    return this.#flights.entries();
  }

  running(taskId: string): RunningFlight | undefined {
    const shared = this.#flights.get(taskId);
    if (shared === undefined) return undefined;
    const { flight, ended } = shared;
    return {
      task: flight.task,
      isOver: isOver(shared),
      abort: (reason) => flight.abort(reason),
      ended,
    };
  }

  /**
   * A child waits for pieces of the download of this task under way. One that was begun for others than this node's own programs goes on
   * for its sake when whoever asked for it is gone: a scheduler that was killed must not take the seed with it. Call what is returned when
   * the child leaves.
   */
  attend(taskId: string): () => void {
    const shared = this.#flights.get(taskId);
    if (shared === undefined) return () => {};
    shared.childCount += 1;
    return () => {
      shared.childCount -= 1;
      endUnlessWanted(shared);
    };
  }

  /**
   * Joins the task's flight, or the one that `open` makes, for these pieces. Call `leave` when they are there, or not wanted any more.
   *
   * @param open its flight has not begun to run when this returns
   */
  board(
    request: DownloadRequest,
    task: StoredTask,
    pieceNumbers: readonly number[],
    open: () => Flight,
  ): { readonly shared: SharedFlight; readonly leave: () => void } {
    const shared = this.#joinable(request.taskId, task) ?? this.#start(request, task, open());
    shared.riderCount += 1;
    shared.forOthers ||= request.forOthers === true;
    shared.flight.want(pieceNumbers);
    const leave = (): void => {
      shared.riderCount -= 1;
      endUnlessWanted(shared);
    };
    return { shared, leave };
  }

  /** Ends all of them, and waits until they have ended. */
  async abort(reason: Error): Promise<void> {
    const all = [...this.#flights.values()];
    for (const { flight } of all) flight.abort(reason);
    await Promise.all(all.map(({ ended }) => ended));
  }

  #joinable(taskId: string, task: StoredTask): Shared | undefined {
    const present = this.#flights.get(taskId);
    if (present === undefined) return undefined;
    return present.flight.task === task && !isOver(present) ? present : undefined;
  }

  #start(request: DownloadRequest, task: StoredTask, flight: Flight): Shared {
    const { taskId } = task.facts;
    // Pieces are wanted before `run` looks: an empty queue would end at once.
    const ended = Promise.resolve().then(async () => {
      try {
        await flight.run();
        this.#onDone(shared);
        return undefined;
      } catch (error) {
        return toError(error);
      } finally {
        shared.ending = true;
        if (this.#flights.get(taskId) === shared) this.#flights.delete(taskId);
      }
    });
    const shared: Shared = {
      request,
      flight,
      startedMs: steadyNow(),
      riderCount: 0,
      childCount: 0,
      forOthers: false,
      ending: false,
      ended,
    };
    this.#flights.set(taskId, shared);
    return shared;
  }
}

interface Shared extends SharedFlight {
  riderCount: number;
  childCount: number;
  /** Somebody off this node asked for it: then its children count, too. */
  forOthers: boolean;
  ending: boolean;
}

/** One that is ending may not take pieces up any more. */
function isOver({ flight, ending }: Shared): boolean {
  return ending || flight.over;
}

function endUnlessWanted(shared: Shared): void {
  if (shared.riderCount > 0 || (shared.forOthers && shared.childCount > 0)) return;
  shared.ending = true;
  shared.flight.abort(
    new DaemonError("ERR_CLOSED", "Cannot go on: nobody waits for the download any more"),
  );
}
