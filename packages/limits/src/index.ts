export { AddressCounts, type AddressCountsOptions } from "./address-counts.ts";
export { AddressRates } from "./address-rates.ts";
export { toAddressGroup } from "./address-group.ts";
export { Backlog, type BacklogOptions } from "./backlog.ts";
export { ByteBudget, type Reservation } from "./byte-budget.ts";
export { type Destroyable, HalfOpen, type HalfOpenOptions } from "./half-open.ts";
export { IdleQueue } from "./idle-queue.ts";
export { TokenBucket } from "./token-bucket.ts";
