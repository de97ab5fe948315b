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
}
