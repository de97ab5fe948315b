import type { Clock } from "./context.ts";

/** Who uses a task at this moment, and when it was used last. */
export class TaskUse {
  readonly #clock: Clock;
  #uploadingCount = 0;
  #uploadedCount = 0;
  #retainCount = 0;
  /** Until then, whoever has just created the task is about to retain it. */
  #awaitedUntilMs = 0;
  /** Room for all of it is reserved as long as it is fetched. */
  #isPromised = false;
  /** Callers that are being handed content. */
  #handingOutCount = 0;
  #usedAtMs: number;
  /** As it was written down last. */
  #writtenAtMs: number;

  /** @param usedAtMs when it was used last, in Unix milliseconds */
  constructor(clock: Clock, usedAtMs: number) {
    this.#clock = clock;
    this.#usedAtMs = usedAtMs;
    this.#writtenAtMs = usedAtMs;
  }

  get uploadingCount(): number {
    return this.#uploadingCount;
  }

  get uploadedCount(): number {
    return this.#uploadedCount;
  }

  get usedAtMs(): number {
    return this.#usedAtMs;
  }

  /** It is served, handed out, or retained. */
  get busy(): boolean {
    return this.#retainCount + this.#uploadingCount + this.#handingOutCount > 0;
  }

  /** Somebody fetches it, or is about to. */
  get isFetched(): boolean {
    return this.#retainCount > 0 || this.#clock.now() < this.#awaitedUntilMs;
  }

  /** Whoever fetches it has been promised room for all of it. */
  get isPromised(): boolean {
    return this.#isPromised && this.isFetched;
  }

  touch(): void {
    this.#usedAtMs = this.#clock.now();
  }

  /** When it was used last, if that is worth writing down; called again it says so no more. */
  takeUnwritten(): number | undefined {
    if (this.#usedAtMs - this.#writtenAtMs < RESOLUTION_MS) return undefined;
    this.#writtenAtMs = this.#usedAtMs;
    return this.#usedAtMs;
  }

  /** It has been promised room, which is as good as taken, though nobody has retained it yet. */
  expectRetain(): void {
    this.#isPromised = true;
    this.#awaitedUntilMs = this.#clock.now() + RETAIN_WAIT_MS;
  }

  retain(): () => void {
    if (!this.isFetched) this.#isPromised = false; // Nobody came in time.
    this.#awaitedUntilMs = 0;
    this.#retainCount++;
    return once(() => {
      this.#retainCount--;
      if (this.#retainCount === 0) this.#isPromised = false;
    });
  }

  /** A piece is served until what is returned is called. */
  serve(): (delivered: boolean) => void {
    this.#uploadingCount++;
    return once((delivered: boolean) => {
      this.#uploadingCount--;
      if (delivered) this.#uploadedCount++;
      this.touch();
    });
  }

  /** Content is handed out until what is returned is called. */
  handOut(): () => void {
    this.#handingOutCount++;
    return once(() => void this.#handingOutCount--);
  }
}

function once<Parameters extends unknown[]>(
  action: (...given: Parameters) => void,
): (...given: Parameters) => void {
  let isDone = false;
  return (...given) => {
    if (isDone) return;
    isDone = true;
    action(...given);
  };
}

/** Between the creation of a task and its download there is little. */
const RETAIN_WAIT_MS = 10_000;
/** Nobody orders what to keep by seconds. */
const RESOLUTION_MS = 60_000;
