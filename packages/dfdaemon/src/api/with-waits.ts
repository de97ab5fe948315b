import type { DownloadWait } from "@damselfly/rpc";
import { steadyNow } from "../steady-now.ts";
import type { Wait } from "../tasks/wait.ts";

/** How often it is looked whether something is waited for. Milliseconds. */
const LOOK_MS = 500;
/** A wait that began so much sooner or later than was said is another one; less is a matter of when it was looked. Milliseconds. */
const SAME_MS = 3_000;

export interface WaitEvent {
  readonly kind: "wait";
  readonly wait: DownloadWait;
}

export interface WithWaitsOptions {
  /** Called when the reader leaves before the end: has to make whatever the events wait for end. */
  readonly onLeave: () => void;
  /** The clock of the call; default `steadyNow`. */
  readonly now?: () => number;
}

/** The same events, and between them what is waited for: whenever that begins, is something else, or is over. */
export async function* withWaits<Event>(
  events: AsyncGenerator<Event, void, undefined>,
  call: { wait(): Wait | undefined },
  { onLeave, now = steadyNow }: WithWaitsOptions,
): AsyncGenerator<Event | WaitEvent, void, undefined> {
  let told: Wait | undefined;
  let next: Promise<IteratorResult<Event, void>> | undefined;
  let isOver = false;
  try {
    for (;;) {
      next = events.next();
      next.catch(() => undefined); // thrown below, when its turn has come
      while (!(await isSettledWithin(next, LOOK_MS))) {
        const wait = call.wait();
        if (isSame(wait, told)) continue;
        told = wait;
        yield { kind: "wait", wait: encode(wait, now()) };
      }
      isOver = true;
      const event = await next;
      if (event.done === true) return;
      isOver = false;
      yield event.value;
    }
  } finally {
    // A generator that waits would not hear of it.
    if (!isOver) onLeave();
    await next?.catch(() => undefined);
    await events.return();
  }
}

function isSame(one: Wait | undefined, other: Wait | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return (
    one.reason === other.reason &&
    one.description === other.description &&
    Math.abs(one.sinceMs - other.sinceMs) < SAME_MS
  );
}

function encode(wait: Wait | undefined, nowMs: number): DownloadWait {
  if (wait === undefined) return { reason: "" };
  const { reason, description, sinceMs, untilMs } = wait;
  return {
    reason,
    description,
    waitedMs: Math.max(0, Math.round(nowMs - sinceMs)),
    boundMs: untilMs === undefined ? 0 : Math.max(1, Math.round(untilMs - sinceMs)),
  };
}

async function isSettledWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const settled = work.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}
