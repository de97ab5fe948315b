import type { ParentAddress, Protocol } from "@damselfly/transport";
import type { Run } from "./judge-run.ts";
import type { ParentRecord } from "./parent-record.ts";

/** A parent as the chooser has it: what is known of it, and what runs. */
export class KnownParent {
  readonly record: ParentRecord;
  /** Where it was the last time. */
  address: ParentAddress;
  /** Pieces in flight from it. */
  readonly runs: Set<Run> = new Set();
  /** Protocols that are being looked at in the background. */
  readonly probes: Set<Protocol> = new Set();
  /** Of the piece that meets it for the first time. */
  #contact: { readonly ended: Promise<void>; end(): void } | undefined;

  constructor(record: ParentRecord, address: ParentAddress) {
    this.record = record;
    this.address = address;
  }

  /** Resolves when the first contact, which somebody else has, is over; undefined: nobody has it. */
  get contact(): Promise<void> | undefined {
    return this.#contact?.ended;
  }

  /** Takes the first contact, until the returned function is called. */
  beginContact(): () => void {
    let end: () => void = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#contact = { ended, end };
    return () => {
      this.#contact = undefined;
      end();
    };
  }
}
