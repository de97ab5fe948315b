import type { Host__Output } from "@damselfly/rpc";
import type { Peer } from "./peer.ts";

/** One daemon, as it last announced itself. */
export class Host {
  readonly id: string;
  readonly peers: Set<Peer> = new Set();
  /** As announced; handed on to the children of its peers. */
  facts: Host__Output;
  /** When it is forgotten unless it announces itself again. */
  expiresAtMs: number;
  /** It was announced by somebody who showed its certificate. */
  certified = false;

  constructor(facts: Host__Output, expiresAtMs: number) {
    this.id = facts.id;
    this.facts = facts;
    this.expiresAtMs = expiresAtMs;
  }

  /** Types above 1 are Dragonfly's retired kinds of seeds. */
  get isSeed(): boolean {
    return this.facts.type !== 0;
  }

  get shares(): boolean {
    return !this.facts.disableShared;
  }

  /** Whether daemons of these two hosts can give each other pieces: Dragonfly's know nothing but plain TCP. */
  canExchangeWith(other: Host): boolean {
    return (this.#isOurs && other.#isOurs) || (this.#isPlain && other.#isPlain);
  }

  /** Otherwise it is one of Dragonfly's. */
  get #isOurs(): boolean {
    return this.facts.extension !== null;
  }

  get #isPlain(): boolean {
    return this.facts.extension?.plainPeers ?? true;
  }
}
