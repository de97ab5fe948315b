import type { Allowance } from "@damselfly/limits";
import type { Peer } from "./peer.ts";
import type { PieceFacts } from "./task.ts";

interface KnownDigest {
  readonly facts: PieceFacts;
  /** Who stands for it. */
  readonly reporter: Peer;
  readonly weight: Weight;
}

/** What a peer's word counts: that of a seed more than that of one who has or had the turn at the origin, anybody else's nothing. */
type Weight = 0 | 1 | 2;

/** What readers of the origin said the pieces of one content are, and who has been told. */
export class DigestRecord {
  /** In the order they became known, so that a peer is told only what is new. */
  readonly all: PieceFacts[] = [];
  readonly #allowance: Allowance;
  readonly #known = new Map<number, KnownDigest>();
  /** How many of them each peer has been told. */
  #toldCounts = new WeakMap<Peer, number>();
  #isSeeds = false;

  /** @param allowance how many pieces' digests may be remembered, here and elsewhere */
  constructor(allowance: Allowance) {
    this.#allowance = allowance;
  }

  /** A seed is among those who said something. */
  get isSeeds(): boolean {
    return this.#isSeeds;
  }

  hasNewsFor(peer: Peer): boolean {
    return this.#toldCount(peer) < this.all.length;
  }

  /** What a peer has not been told yet; from now on it has. */
  tell(peer: Peer): PieceFacts[] {
    const news = this.all.slice(this.#toldCount(peer));
    this.#toldCounts.set(peer, this.all.length);
    return news;
  }

  /**
   * Records what a reader of the origin found. A word that counts more replaces what it contradicts, and all that counts less. Of two that
   * count the same the first stands while the one who gave it is here; whoever says the same after it has left stands for it from then on,
   * and one who finds something else then starts the record anew, but for what those say who count more and are here.
   *
   * @returns false when it contradicts what is recorded
   */
  learn(reporter: Peer, facts: PieceFacts): boolean {
    const weight = weightOf(reporter);
    const known = this.#known.get(facts.number);
    const isRight = known === undefined || agrees(known.facts, facts);
    if (weight === 0) return isRight;
    if (known === undefined) {
      this.#record({ facts, reporter, weight });
      return true;
    }
    const isBetter = weight > known.weight;
    if (!isBetter && known.reporter.isHere) return isRight;
    if (isRight) {
      this.#keep({ facts: known.facts, reporter, weight });
      return true;
    }
    this.#forgetBut((other) =>
      isBetter ? other.weight >= weight : other.weight > weight && other.reporter.isHere,
    );
    this.#record({ facts, reporter, weight });
    return !isBetter;
  }

  forget(): void {
    this.#allowance.giveBack(this.all.length);
    this.all.length = 0;
    this.#known.clear();
    this.#toldCounts = new WeakMap();
    this.#isSeeds = false;
  }

  #toldCount(peer: Peer): number {
    return this.#toldCounts.get(peer) ?? 0;
  }

  #record(known: KnownDigest): void {
    if (!this.#allowance.take(1)) return;
    this.all.push(known.facts);
    this.#keep(known);
  }

  #keep(known: KnownDigest): void {
    this.#known.set(known.facts.number, known);
    this.#isSeeds ||= known.reporter.host.isSeed;
  }

  #forgetBut(isKept: (known: KnownDigest) => boolean): void {
    const kept = [...this.#known.values()].filter(isKept);
    this.forget();
    for (const known of kept) this.#record(known);
  }
}

function weightOf({ host, hadTurn }: Peer): Weight {
  if (host.isSeed) return 2;
  return hadTurn ? 1 : 0;
}

/** Whether two readers read the same bytes, as far as both say. */
function agrees(one: PieceFacts, other: PieceFacts): boolean {
  const { strongDigest: mine = other.strongDigest } = one;
  const { strongDigest: theirs = mine } = other;
  return one.digest === other.digest && mine === theirs;
}
