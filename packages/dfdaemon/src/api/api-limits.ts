/** What others may have going on here at once, in all and from one address. */
export interface ApiLimits {
  /** Children that listen for pieces, over all tasks: SyncPieces. */
  readonly childCountMax: number;
  readonly childrenPerAddressMax: number;
  /** Pieces that they wait for, all together. */
  readonly wantedPieceCountMax: number;
  /** Those who listen for how this host fares: SyncHost. */
  readonly watcherCountMax: number;
  readonly watchersPerAddressMax: number;
  /** Downloads, and lists of what an origin has, that other machines ask for. */
  readonly orderCountMax: number;
  readonly ordersPerAddressMax: number;
}

export const DEFAULT_API_LIMITS: ApiLimits = {
  childCountMax: 4_096,
  childrenPerAddressMax: 2_048,
  // A thousand children of tasks of 16 GB; they cost some 80 bytes apiece.
  wantedPieceCountMax: 4 << 20,
  watcherCountMax: 4_096,
  watchersPerAddressMax: 2_048,
  // A scheduler asks a seed for as many tasks at once as it asks seeds at all, which is 1,000.
  orderCountMax: 2_000,
  ordersPerAddressMax: 1_000,
};
