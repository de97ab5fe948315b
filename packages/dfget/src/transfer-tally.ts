import type { TransferPlan } from "./transfer-plan.ts";

/** Where the bytes of a piece came from. */
export type PieceOrigin =
  | { readonly kind: "origin" }
  /** A peer, by the id it has in this task. */
  | { readonly kind: "parent"; readonly peerId: string }
  /** They were on this node's disk already. */
  | { readonly kind: "local" };

/** How far a download has come. Plain data; all lengths in bytes. */
export interface TransferState {
  readonly length: number;
  readonly done: number;
  readonly pieceCount: number;
  readonly piecesDone: number;
  readonly fromOrigin: number;
  readonly fromLocal: number;
  /** By host: `{ip}-{hostname}`, most bytes first. */
  readonly fromParents: readonly (readonly [host: string, length: number])[];
}

/** Counts what has arrived. */
export class TransferTally {
  readonly #plan: TransferPlan;
  readonly #missing: Set<number>;
  readonly #fromParents = new Map<string, number>();
  #done = 0;
  #fromOrigin = 0;
  #fromLocal = 0;

  constructor(plan: TransferPlan) {
    this.#plan = plan;
    this.#missing = new Set(plan.pieces.keys());
  }

  /** Numbers of the pieces that have not arrived, in file order. */
  get missing(): ReadonlySet<number> {
    return this.#missing;
  }

  /** Whether this piece was still missing; one that was not counts once only. */
  add(pieceNumber: number, from: PieceOrigin): boolean {
    if (!this.#missing.delete(pieceNumber)) return false;
    const length = this.#plan.pieces.get(pieceNumber)?.length ?? 0;
    this.#done += length;
    switch (from.kind) {
      case "origin":
        this.#fromOrigin += length;
        break;
      case "local":
        this.#fromLocal += length;
        break;
      case "parent": {
        const host = hostOfPeer(from.peerId);
        this.#fromParents.set(host, (this.#fromParents.get(host) ?? 0) + length);
        break;
      }
    }
    return true;
  }

  get state(): TransferState {
    return {
      length: this.#plan.length,
      done: this.#done,
      pieceCount: this.#plan.pieces.size,
      piecesDone: this.#plan.pieces.size - this.#missing.size,
      fromOrigin: this.#fromOrigin,
      fromLocal: this.#fromLocal,
      fromParents: [...this.#fromParents].toSorted(([, left], [, right]) => right - left),
    };
  }
}

/** A peer id without the part that is new in every task: `{ip}-{hostname}-{uuid}[-seed]`. */
export function hostOfPeer(peerId: string): string {
  return peerId.replace(/-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=(?:-seed)?$)/i, "");
}
