import type { Protocol } from "@damselfly/transport";
import type { Move } from "./judge-run.ts";
import type { LegEnd } from "./moving-piece.ts";
import type { Decision } from "./parent-record.ts";

/** Who counts what is chosen and what comes of it. */
export interface ChoiceObserver {
  /** Another protocol is the one for a parent. */
  decided(decision: Decision): void;
  /** A protocol did not get through to a parent, and is left out for a while. */
  failed(protocol: Protocol): void;
  /** The rest of a piece is asked for over another protocol. */
  moved(move: Move): void;
  /** A piece, or a part of one, came over one protocol, or broke off. */
  legEnded(end: LegEnd): void;
  /** Bytes came a second time. */
  doubled(length: number): void;
}
