import { randomBytes } from "node:crypto";
import type { NativeConnection } from "./binding.ts";
import { CONNECTION_ID_LENGTH, toKey } from "./packet-header.ts";
import type { ResetTokens } from "./stateless-reset.ts";

/**
 * Ids that a peer may let this side hold. It is also the count of paths that the binding remembers of a connection, and
 * as it forgets none, one less is how often the peer's address may change.
 */
export const ACTIVE_ID_COUNT_MAX = 8;

/** Ids that the peer is given, where it takes so many: each costs 40 bytes on the wire and a place in a map here. */
const ISSUED_COUNT = 4;

/** Of the binding's connection. */
export type IdIssuer = Pick<
  NativeConnection,
  "retiredScidNext" | "sourceCidsLeft" | "newSourceCid" | "pathEventNext"
>;

/** The ids under which a connection's packets may arrive. */
export interface IdRegistry {
  add(key: string): void;
  delete(key: string): void;
}

/**
 * Keeps the peer supplied with ids beyond the first, so that either side can change to a fresh one when the other's
 * address changes (RFC 9000, section 9.5): the old id on a new path would tell onlookers who moved.
 */
export class SpareIds {
  readonly #native: IdIssuer;
  readonly #tokens: ResetTokens;
  readonly #registry: IdRegistry;
  /** Those the peer holds, the first included. The binding's own count of what is left can wrap around. */
  #count = 1;

  constructor(native: IdIssuer, tokens: ResetTokens, registry: IdRegistry) {
    this.#native = native;
    this.#tokens = tokens;
    this.#registry = registry;
  }

  /** Issues what the peer may have more, and forgets what it has given back; for every turn after the handshake. */
  refresh(): void {
    const native = this.#native;
    for (let id = native.retiredScidNext(); id !== null; id = native.retiredScidNext()) {
      this.#registry.delete(toKey(id));
      this.#count--;
    }
    while (this.#count < ISSUED_COUNT && native.sourceCidsLeft() > 0) {
      const id = randomBytes(CONNECTION_ID_LENGTH);
      try {
        native.newSourceCid(id, this.#tokens.numberOf(id), false);
      } catch {
        return; // the binding has its own idea of how many the peer takes
      }
      this.#registry.add(toKey(id));
      this.#count++;
    }
    // Nobody reads what it notes about paths, and it would note on.
    while (native.pathEventNext() !== null);
  }
}
