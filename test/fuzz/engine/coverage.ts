import { Session, type Profiler } from "node:inspector";

/** A piece of code without branches in it. */
export interface Block {
  readonly startOffset: number;
  readonly endOffset: number;
  hasRun: boolean;
}

/**
 * Which blocks of our code have been run, as V8 counts them itself: it needs no rewriting of the code, slows it down by next to nothing,
 * and a look at the counts costs some 0.3 ms. Counted is only what was loaded after `open`.
 */
export class Coverage implements Disposable {
  readonly #session = new Session();
  readonly #isCounted: (url: string) => boolean;
  readonly #blocksOf = new Map<string, Map<string, Block>>();
  #blockCount = 0;

  private constructor(isCounted: (url: string) => boolean) {
    this.#isCounted = isCounted;
  }

  /** @param isCounted which modules count, by their URLs */
  static open(isCounted: (url: string) => boolean): Coverage {
    const coverage = new Coverage(isCounted);
    coverage.#session.connect();
    coverage.#post("Profiler.enable");
    coverage.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    return coverage;
  }

  /** Blocks that have been run so far. */
  get blockCount(): number {
    return this.#blockCount;
  }

  /** The blocks that have been run since the last look and had never been before. */
  look(): readonly Block[] {
    const found: Block[] = [];
    for (const { url, functions } of this.#take()) {
      if (!this.#isCounted(url)) continue;
      for (const counted of functions) {
        if (counted.isBlockCoverage) found.push(...this.#newBlocksOf(url, counted));
      }
    }
    this.#blockCount += found.length;
    return found;
  }

  /** As if they had not been run: to find out which of several inputs it is that runs them. */
  forget(blocks: readonly Block[]): void {
    for (const block of blocks) block.hasRun = false;
    this.#blockCount -= blocks.length;
  }

  [Symbol.dispose](): void {
    this.#post("Profiler.stopPreciseCoverage");
    this.#session.disconnect();
  }

  /** Inside its own process the inspector answers before `post` returns. */
  #post(method: string, parameters: object = {}): void {
    this.#session.post(method, parameters, (error) => {
      if (error !== null) throw error;
    });
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    let taken: readonly Profiler.ScriptCoverage[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error !== null) throw error;
      taken = result;
    });
    return taken;
  }

  /**
   * Blocks that ran as often as what is around them are not told apart from it. So what has once been told is remembered, and counts as
   * run when what it lies in has been.
   */
  *#newBlocksOf(url: string, { ranges }: Profiler.FunctionCoverage): Generator<Block> {
    const [whole] = ranges;
    if (whole === undefined) return;
    const key = `${url} ${whole.startOffset} ${whole.endOffset}`;
    const blocks = this.#blocksOf.get(key) ?? new Map<string, Block>();
    this.#blocksOf.set(key, blocks);
    for (const { startOffset, endOffset } of ranges) {
      const blockKey = `${startOffset} ${endOffset}`;
      if (!blocks.has(blockKey)) blocks.set(blockKey, { startOffset, endOffset, hasRun: false });
    }
    for (const block of blocks.values()) {
      if (block.hasRun || countOf(block, ranges) === 0) continue;
      block.hasRun = true;
      yield block;
    }
  }
}

/** How often the innermost range around a block has run: ranges come outer ones first. */
function countOf(
  { startOffset, endOffset }: Block,
  ranges: readonly Profiler.CoverageRange[],
): number {
  let count = 0;
  for (const range of ranges) {
    if (range.startOffset <= startOffset && endOffset <= range.endOffset) ({ count } = range);
  }
  return count;
}
