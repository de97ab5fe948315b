import type { WorkerProcess } from "./worker-process.ts";

/**
 * Data-plane processes that are started before anybody has use for them: they load while this process still does, and then wait for what
 * they are told first. Disposing it ends those that nobody has taken.
 */
export class WorkersAhead implements Disposable {
  readonly #spawn: () => WorkerProcess;
  readonly #waiting: WorkerProcess[];

  /** @param count of processes, 0 and more */
  constructor(count: number, spawn: () => WorkerProcess) {
    this.#spawn = spawn;
    this.#waiting = Array.from({ length: count }, spawn);
  }

  /** One that waits, from then on the caller's; once there is none, a new one. One that has ended meanwhile is no exception: whoever takes it is told why. */
  take(): WorkerProcess {
    return this.#waiting.shift() ?? this.#spawn();
  }

  [Symbol.dispose](): void {
    for (const worker of this.#waiting.splice(0)) worker.kill();
  }
}
