import type { ParentAddress } from "@damselfly/transport";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";

/** What a parent says of itself and its pieces, in the order it says it. */
export type ParentEvent =
  /** Where its pieces can be fetched; comes before the first piece. */
  | { readonly kind: "address"; readonly address: ParentAddress }
  | {
      readonly kind: "piece";
      readonly number: number;
      readonly offset: number;
      readonly length: number;
    }
  /** It is being stopped: what runs may finish, but nothing more is to be asked of it. Comes last. */
  | { readonly kind: "leaving" };

/** The control channel to parents: which pieces does each have now, and which does it get. */
export interface ParentChannel {
  /**
   * Asks one parent for the pieces of a task, as it gets them. Ends when it has reported every piece asked for.
   *
   * @throws {DaemonError} `ERR_PARENT` when it cannot be reached, does not know the task, failed with it, holds another version of the file,
   * or offers no transport that we speak
   */
  syncPieces(
    parent: CandidateParent,
    query: {
      readonly taskId: string;
      readonly pieceNumbers: readonly number[];
      /** Ours; a parent that holds another version is refused. */
      readonly contentVersion: string;
      /** Where ours is from, see `sourceDigestOf`; a parent whose copy is from elsewhere is refused. */
      readonly sourceDigest: string;
      readonly signal: AbortSignal;
    },
  ): AsyncIterable<ParentEvent>;
}
