export { AddressCounts, type AddressCountsOptions } from "./address-counts.ts";
export { toAddressGroup } from "./address-group.ts";
export { ByteBudget, type Reservation } from "./byte-budget.ts";
export { TokenBucket } from "./token-bucket.ts";
