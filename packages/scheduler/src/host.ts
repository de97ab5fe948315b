import { isIP } from "node:net";
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
  /** Of whoever made it known. */
  readonly address: string;
  /** It was announced by somebody who showed its certificate. */
  certified = false;

  constructor(init: {
    readonly facts: Host__Output;
    readonly expiresAtMs: number;
    readonly address: string;
  }) {
    this.id = init.facts.id;
    this.address = init.address;
    this.facts = init.facts;
    this.expiresAtMs = init.expiresAtMs;
  }

  /** Types above 1 are Dragonfly's retired kinds of seeds. */
  get isSeed(): boolean {
    return this.facts.type !== 0;
  }

  get shares(): boolean {
    return !this.facts.disableShared;
  }

  /** It has not announced itself: all that is known is what its id says, and nobody can be sent there. */
  get isGuest(): boolean {
    return this.facts.port === 0;
  }

  /** Otherwise it is one of Dragonfly's. */
  get isOurs(): boolean {
    return this.facts.extension !== null;
  }

  /** Whether daemons of these two hosts can give each other pieces: Dragonfly's know nothing but plain TCP. */
  canExchangeWith(other: Host): boolean {
    return (this.isOurs && other.isOurs) || (this.#isPlain && other.#isPlain);
  }

  get #isPlain(): boolean {
    return this.facts.extension?.plainPeers ?? true;
  }
}

/** What the id of a host that has not announced itself says of it: `{ip}-{hostname}`. */
export function guestFacts(id: string): Host__Output {
  const dash = id.indexOf("-");
  const ip = id.slice(0, Math.max(dash, 0));
  return {
    id,
    hostname: id.slice(dash + 1),
    name: "",
    ip: isIP(ip) === 0 ? "" : ip,
    port: 0,
    downloadPort: 0,
    proxyPort: 0,
    type: 0,
    os: "",
    platform: "",
    platformFamily: "",
    platformVersion: "",
    kernelVersion: "",
    schedulerClusterId: 0,
    disableShared: true,
    extension: null,
  };
}
