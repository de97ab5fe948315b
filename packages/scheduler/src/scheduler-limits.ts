/**
 * What a scheduler remembers at most, and how much it does at once. Lengths in bytes. An address is that of whoever calls: an IPv4 address
 * or an IPv6 /64 network.
 */
export interface SchedulerLimits {
  /** Hosts known at once. One more is refused; those that have not announced themselves and have no peers make room. */
  readonly hostCountMax: number;
  /** Of them, announced from one address. */
  readonly hostsPerAddressMax: number;
  /** How long a host is known after an announcement, whatever interval it says. Milliseconds. */
  readonly hostLifetimeMsMax: number;
  /** Peers known at once. For one more the one that has finished first is forgotten; where none has, it is refused. */
  readonly peerCountMax: number;
  /** Of them, from one address; */
  readonly peersPerAddressMax: number;
  /** of one host; */
  readonly peersPerHostMax: number;
  /** of one task. */
  readonly peersPerTaskMax: number;
  /** Tasks known at once. One more is refused; those without peers make room. */
  readonly taskCountMax: number;
  /** What hosts say of themselves, and peers that have not finished of what they download. More is refused. */
  readonly textLengthMax: number;
  /** What a peer says of what it downloads: URL, headers, certificates. */
  readonly downloadLengthMax: number;
  /** Which pieces peers have. Beyond it reports of pieces are not remembered. */
  readonly pieceNumbersLengthMax: number;
  /** Digests of pieces, over all tasks. Further ones are not remembered: children check pieces by their parents' word then. */
  readonly digestCountMax: number;
  /** Seeds asked at the same time; further peers go to the origin themselves. */
  readonly seedCallCountMax: number;
  /** Daemons probed at the same time for whether they live; further ones count as living. */
  readonly probeCountMax: number;
  /** Reports that one peer makes in a second, and twice as many at once; further ones wait. */
  readonly reportsPerSecondMax: number;
  /** Messages that wait for a peer to read them. One more ends its stream. */
  readonly waitingMessageCountMax: number;
  /** Candidates looked at between two ticks; what is left then is done after the next. */
  readonly lookCountMax: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_SCHEDULER_LIMITS: SchedulerLimits = {
  // Twice the connections that one server takes.
  hostCountMax: 20_000,
  // A cluster may be behind one NAT; nobody there keeps all others out.
  hostsPerAddressMax: 10_000,
  hostLifetimeMsMax: 24 * 3_600_000,
  // A peer that has finished takes some 2 KiB.
  peerCountMax: 200_000,
  peersPerAddressMax: 100_000,
  peersPerHostMax: 20_000,
  peersPerTaskMax: 20_000,
  taskCountMax: 100_000,
  textLengthMax: 256 * MIB,
  // A URL of the longest kind, headers as long as servers take them, and a chain of certificates.
  downloadLengthMax: 256 * 1024,
  // Ten thousand peers of a task of 100 GB.
  pieceNumbersLengthMax: 128 * MIB,
  // 5 TB in the smallest pieces; some 200 MiB.
  digestCountMax: 1 << 20,
  seedCallCountMax: 1_000,
  probeCountMax: 64,
  // 8 GB/s in the smallest pieces.
  reportsPerSecondMax: 2_000,
  waitingMessageCountMax: 64,
  // Some 50 ms.
  lookCountMax: 500_000,
};
