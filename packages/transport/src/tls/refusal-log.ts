import type { PeerRefusal } from "./peer-trust.ts";

/** Where refusals are told. */
export interface TlsLogger {
  warn(fields: object, message: string): void;
}

/** What has been said is remembered, so much of it; then it may be said again. */
const REMEMBERED_MAX = 1_000;

/**
 * Says who is refused and why, once for each certificate and reason: a peer that is refused tries again and again. Only
 * certificates that an authority vouches for come so far, so strangers cannot fill the log.
 */
export class RefusalLog {
  readonly #logger: TlsLogger | undefined;
  readonly #said = new Set<string>();

  constructor(logger: TlsLogger | undefined) {
    this.#logger = logger;
  }

  /** @param what the first half of a sentence, as in `Cannot serve a child` */
  say(what: string, { fault, reason }: PeerRefusal, peer: string | undefined): void {
    const message = `${what}: ${reason} (said once)`;
    if (this.#said.has(message)) return;
    if (this.#said.size >= REMEMBERED_MAX) this.#said.clear();
    this.#said.add(message);
    this.#logger?.warn({ peer, fault }, message);
  }
}
