import { codeOf } from "../code-of.ts";

/** What became of a task of late, for those who ask about it. Unix milliseconds. */
export interface TaskEvents {
  /** A download of it failed, and none has succeeded since. */
  readonly failedAtMs?: number;
  /** Fetching the whole of it began because somebody wanted a part. */
  readonly prefetchedAtMs?: number;
}

/** Tasks remembered; of more the one that was heard of longest ago is forgotten. */
const TASK_COUNT_MAX = 10_000;

/** Remembers, since the daemon's start, what storage does not. */
export class TaskHistory {
  readonly #events = new Map<string, TaskEvents>();
  readonly #now: () => number;

  constructor(options: { readonly now?: () => number } = {}) {
    this.#now = options.now ?? Date.now;
  }

  of(taskId: string): TaskEvents {
    return this.#events.get(taskId) ?? {};
  }

  failed(taskId: string): void {
    this.#note(taskId, { ...this.of(taskId), failedAtMs: this.#now() });
  }

  succeeded(taskId: string): void {
    const { failedAtMs, ...others } = this.of(taskId);
    if (failedAtMs !== undefined) this.#note(taskId, others);
  }

  prefetched(taskId: string): void {
    this.#note(taskId, { ...this.of(taskId), prefetchedAtMs: this.#now() });
  }

  forget(taskId: string): void {
    this.#events.delete(taskId);
  }

  #note(taskId: string, events: TaskEvents): void {
    this.#events.delete(taskId);
    this.#events.set(taskId, events);
    const [oldest] = this.#events.keys();
    if (this.#events.size > TASK_COUNT_MAX && oldest !== undefined) this.#events.delete(oldest);
  }
}

/** What is wrong with the place or the digest that one caller named says nothing about the task. */
export function isAboutDelivery(error: unknown): boolean {
  const code = codeOf(error);
  return code.startsWith("ERR_OUTPUT") || code === "ERR_DIGEST_MISMATCH" || code === "ERR_RANGE";
}
