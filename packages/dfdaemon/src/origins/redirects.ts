import type { Answer } from "./exchange.ts";
import { OriginError } from "./origin-error.ts";
import type { OriginRequest, RedirectTarget } from "./origin.ts";
import { redactUrl } from "./redact-url.ts";
import { requestKey } from "./request-key.ts";
import { redirectTarget, type Header, type Target } from "./request-header.ts";

/** As many as curl's and Dragonfly's default. */
const REDIRECTS_MAX = 10;
/** Requests whose redirect is remembered. */
const REMEMBERED_MAX = 1000;
/** As long as Dragonfly remembers one. */
const REMEMBERED_MS = 600_000;

export interface Arrival {
  readonly answer: Answer;
  readonly target: Target;
  /** Headers of the redirects on the way, in order. */
  readonly redirects: readonly Header[];
}

/**
 * Sends, and sends on, until an answer is no redirect.
 *
 * @throws {OriginError} `ERR_ORIGIN_REDIRECT_LOOP` with the chain in its message; `ERR_ORIGIN_URL` if it leads away from HTTP
 */
export async function followRedirects(
  start: Target,
  send: (target: Target) => Promise<Answer>,
): Promise<Arrival> {
  const visited = [start.url.href];
  const redirects: Header[] = [];
  let target = start;
  for (;;) {
    const answer = await send(target);
    const location = answer.responseHeader["location"];
    if (!isRedirect(answer.statusCode) || location === undefined)
      return { answer, target, redirects };
    answer.discard();
    redirects.push(answer.responseHeader);
    target = redirectTarget(target, location);
    const { href } = target.url;
    const looped = visited.includes(href);
    visited.push(href);
    if (looped || visited.length > REDIRECTS_MAX + 1) {
      const what = looped
        ? "redirects lead back to where they were"
        : `more than ${REDIRECTS_MAX} redirects`;
      const chain = visited.map(redactUrl).join(" -> ");
      throw new OriginError(
        "ERR_ORIGIN_REDIRECT_LOOP",
        `Cannot read ${redactUrl(start.url.href)}: ${what}: ${chain}`,
      );
    }
  }
}

function isRedirect(statusCode: number): boolean {
  return [301, 302, 303, 307, 308].includes(statusCode);
}

/**
 * Where requests were sent on to, so that the ranges of one file come from one place and without a detour each. What was left out of the
 * header on the way stays left out. Knows nothing of whether a target still works.
 */
export class RedirectMemory {
  readonly #now: () => number;
  /** Oldest first. */
  readonly #targets = new Map<
    string,
    { readonly target: RedirectTarget; readonly untilMs: number }
  >();

  constructor(now: () => number) {
    this.#now = now;
  }

  find(request: OriginRequest): RedirectTarget | undefined {
    const found = this.#targets.get(requestKey(request));
    return found === undefined || found.untilMs < this.#now() ? undefined : found.target;
  }

  /** Undefined: it was not sent on, or there is nothing to go by any more. */
  remember(request: OriginRequest, target: RedirectTarget | undefined): void {
    const key = requestKey(request);
    this.#targets.delete(key);
    if (target === undefined) return;
    this.#targets.set(key, { target, untilMs: this.#now() + REMEMBERED_MS });
    if (this.#targets.size <= REMEMBERED_MAX) return;
    const [oldest] = this.#targets.keys();
    if (oldest !== undefined) this.#targets.delete(oldest);
  }
}
