import type { Protocol } from "@damselfly/transport";
import type { ChoiceObserver } from "./choice-observer.ts";
import type { Move, MoveReason } from "./judge-run.ts";
import type { LegEnd } from "./moving-piece.ts";
import type { Decision, DecisionReason } from "./parent-record.ts";

/** What one protocol has brought since the start, all parents together. */
export interface ProtocolTotals {
  readonly protocol: Protocol;
  /** Pieces that it brought to their ends. */
  pieceCount: number;
  /** Of whole pieces and of parts. */
  byteCount: number;
  /** For those, from the requests to the last bytes, added up. Milliseconds. */
  durationMs: number;
  /** Times it did not get through to a parent. */
  failureCount: number;
  /** Times a parent was given to it, by reason. */
  readonly decisions: Partial<Record<DecisionReason, number>>;
  /** Rests of pieces that it took over, by what was wrong with the one before. */
  readonly moves: Partial<Record<MoveReason, number>>;
}

/** Counts what is chosen and what comes of it, since the start. */
export class ChoiceTotals implements ChoiceObserver {
  readonly #totals = new Map<Protocol, ProtocolTotals>();
  #doubledBytes = 0;

  get protocols(): readonly ProtocolTotals[] {
    return [...this.#totals.values()];
  }

  /** Bytes that came over two protocols. */
  get doubledBytes(): number {
    return this.#doubledBytes;
  }

  decided({ protocol, reason }: Decision): void {
    const { decisions } = this.#of(protocol);
    decisions[reason] = (decisions[reason] ?? 0) + 1;
  }

  failed(protocol: Protocol): void {
    this.#of(protocol).failureCount += 1;
  }

  moved({ to, reason }: Move): void {
    const { moves } = this.#of(to);
    moves[reason] = (moves[reason] ?? 0) + 1;
  }

  legEnded({ protocol, length, durationMs, how }: LegEnd): void {
    const totals = this.#of(protocol);
    totals.byteCount += length;
    totals.durationMs += durationMs;
    if (how === "whole") totals.pieceCount += 1;
  }

  doubled(length: number): void {
    this.#doubledBytes += length;
  }

  #of(protocol: Protocol): ProtocolTotals {
    let totals = this.#totals.get(protocol);
    if (totals === undefined) {
      const counts = { pieceCount: 0, byteCount: 0, durationMs: 0, failureCount: 0 };
      totals = { protocol, ...counts, decisions: {}, moves: {} };
      this.#totals.set(protocol, totals);
    }
    return totals;
  }
}
