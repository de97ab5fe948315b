import type { ParentAddress } from "@damselfly/transport";
import type { OriginRequest, OriginStat } from "../../origins/origin.ts";

/** Whom a piece, or the rest of one, can be asked for. Plain data. */
export type Supplier = ParentSupplier | OriginSupplier;

export interface ParentSupplier {
  /** Chosen by whoever names it, unique for a piece: what becomes of it is told under this number. */
  readonly id: number;
  readonly kind: "parent";
  readonly address: ParentAddress;
}

export interface OriginSupplier {
  readonly id: number;
  readonly kind: "origin";
  readonly request: OriginRequest;
  /** The version that the task is of. */
  readonly expected: Pick<OriginStat, "etag" | "lastModified" | "contentLength">;
}

/** How messages call it. */
export function nameOf(supplier: Supplier): string {
  return supplier.kind === "parent" ? supplier.address.hostId : "the origin";
}
