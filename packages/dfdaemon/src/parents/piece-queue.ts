/**
 * Which piece to fetch next, and from whom. Pure bookkeeping: no clock, no I/O.
 *
 * Every wanted piece is *missing*, *taken* (in flight, from one source) or *done*. Rarest first, random among equals, so that the pieces
 * of a young swarm spread evenly (as BitTorrent clients do); the source of a piece is the holder that `cost` rates lowest.
 *
 * `Source` is compared by identity.
 */
export class PieceQueue<Source> {
  readonly #pieces = new Map<number, Piece<Source>>();
  /** Those that are missing: only they are looked through, again and again, for the next one. */
  readonly #missing = new Map<number, Piece<Source>>();
  readonly #random: () => number;
  #doneCount = 0;

  constructor(options: { readonly random?: () => number } = {}) {
    this.#random = options.random ?? Math.random;
  }

  /** Adds a piece to fetch; one that is already wanted stays as it is. */
  want(number: number): void {
    if (this.#pieces.has(number)) return;
    const piece: Piece<Source> = { state: "missing", holders: new Set(), refused: new Set() };
    this.#pieces.set(number, piece);
    this.#missing.set(number, piece);
  }

  get missingCount(): number {
    return this.#missing.size;
  }

  /** Every wanted piece is there. */
  get finished(): boolean {
    return this.#doneCount === this.#pieces.size;
  }

  /** Wanted pieces that are not there yet, ascending. */
  unfinished(): number[] {
    return [...this.#pieces]
      .filter(([, piece]) => piece.state !== "done")
      .map(([number]) => number)
      .toSorted((a, b) => a - b);
  }

  /** `source` has this piece. Pieces nobody wants are ignored. */
  offer(number: number, source: Source): void {
    const piece = this.#pieces.get(number);
    if (piece === undefined || piece.refused.has(source)) return;
    piece.holders.add(source);
  }

  /** `source` is gone: none of its offers counts any more. What is in flight from it stays taken until `fail`. */
  withdraw(source: Source): void {
    for (const piece of this.#pieces.values()) {
      piece.holders.delete(source);
      piece.refused.delete(source);
    }
  }

  /** Who offers this piece, whether or not it is in flight, and has not failed with it. */
  holders(number: number): Iterable<Source> {
    return this.#pieces.get(number)?.holders ?? [];
  }

  /** `source` failed with this piece, which somebody else may be fetching: it is not asked for it again while it stays. */
  refuse(number: number, source: Source): void {
    const piece = this.#pieces.get(number);
    if (piece === undefined) return;
    piece.holders.delete(source);
    piece.refused.add(source);
  }

  /** Whether `source` offers any piece that is not there yet. */
  isHeldBy(source: Source): boolean {
    for (const piece of this.#pieces.values()) {
      if (piece.state !== "done" && piece.holders.has(source)) return true;
    }
    return false;
  }

  /** Whether any missing piece can be had from one of its holders. */
  get hasOffers(): boolean {
    for (const { holders } of this.#missing.values()) if (holders.size > 0) return true;
    return false;
  }

  /**
   * Takes the rarest missing piece that a usable source holds, and names that source. `cost` rates a source, lower is better;
   * `undefined` means that it takes no piece at this moment; with `isAlone` it is about one that nobody else holds.
   */
  take(
    cost: (source: Source, isAlone: boolean) => number | undefined,
  ): { number: number; source: Source } | undefined {
    // Rated once: with thousands of pieces the scan below asks for the same few sources over and over.
    const [alone, shared] = [rateOnce(cost, true), rateOnce(cost, false)];
    let best: { number: number; piece: Piece<Source>; source: Source; rarity: number } | undefined;
    let equals = 0;
    for (const [number, piece] of this.#missing) {
      if (piece.holders.size === 0) continue;
      const rarity = piece.holders.size;
      if (best !== undefined && rarity > best.rarity) continue;
      const source = cheapest(piece.holders, rarity === 1 ? alone : shared);
      if (source === undefined) continue;
      // Reservoir sampling: each of n equals is kept with probability 1/n.
      equals = best !== undefined && rarity === best.rarity ? equals + 1 : 1;
      if (this.#random() * equals < 1) best = { number, piece, source, rarity };
    }
    if (best === undefined) return undefined;
    this.#take(best.number, best.piece);
    return { number: best.number, source: best.source };
  }

  /**
   * Takes the lowest missing piece that nobody offers: what is left for the origin. With `atRandom` any of them: many who read the origin
   * at the same time, and tell each other what they have, then read little of it twice.
   */
  takeUnoffered({ atRandom = false }: { readonly atRandom?: boolean } = {}): number | undefined {
    let chosen: number | undefined;
    let count = 0;
    for (const [number, { holders }] of this.#missing) {
      if (holders.size > 0) continue;
      count += 1;
      const isBetter = atRandom ? this.#random() * count < 1 : number < (chosen ?? Infinity);
      if (isBetter) chosen = number;
    }
    if (chosen !== undefined) this.takeNumber(chosen);
    return chosen;
  }

  /** Takes the lowest missing piece, whoever offers it. */
  takeLowest(): number | undefined {
    let lowest: number | undefined;
    for (const number of this.#missing.keys())
      if (lowest === undefined || number < lowest) lowest = number;
    if (lowest !== undefined) this.takeNumber(lowest);
    return lowest;
  }

  /** Takes this very piece. False if it is not wanted, in flight or there. */
  takeNumber(number: number): boolean {
    const piece = this.#missing.get(number);
    if (piece === undefined) return false;
    this.#take(number, piece);
    return true;
  }

  /** The piece is there, however it came. */
  done(number: number): void {
    const piece = this.#pieces.get(number);
    if (piece === undefined || piece.state === "done") return;
    this.#missing.delete(number);
    piece.state = "done";
    this.#doneCount += 1;
  }

  /** A taken piece did not come. With a source, that source is not asked for it again while it stays. */
  fail(number: number, source?: Source): void {
    const piece = this.#pieces.get(number);
    if (piece === undefined || piece.state !== "taken") return;
    this.#miss(number, piece);
    if (source !== undefined) this.refuse(number, source);
  }

  /** A piece that was there is not any more (found damaged). */
  lose(number: number): void {
    const piece = this.#pieces.get(number);
    if (piece === undefined || piece.state !== "done") return;
    this.#doneCount -= 1;
    this.#miss(number, piece);
  }

  #take(number: number, piece: Piece<Source>): void {
    piece.state = "taken";
    this.#missing.delete(number);
  }

  #miss(number: number, piece: Piece<Source>): void {
    piece.state = "missing";
    this.#missing.set(number, piece);
  }
}

interface Piece<Source> {
  state: "missing" | "taken" | "done";
  readonly holders: Set<Source>;
  /** Sources that failed with this piece. */
  readonly refused: Set<Source>;
}

function rateOnce<Source>(
  cost: (source: Source, isAlone: boolean) => number | undefined,
  isAlone: boolean,
): (source: Source) => number | undefined {
  const costs = new Map<Source, number | undefined>();
  return (source) => {
    if (!costs.has(source)) costs.set(source, cost(source, isAlone));
    return costs.get(source);
  };
}

function cheapest<Source>(
  sources: Set<Source>,
  cost: (source: Source) => number | undefined,
): Source | undefined {
  let best: Source | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const source of sources) {
    const value = cost(source);
    if (value !== undefined && value < bestCost) {
      best = source;
      bestCost = value;
    }
  }
  return best;
}
