// Original file: proto/manager/v2/manager.proto

/**
 * Who is asking.
 */
export const SourceType = {
  SCHEDULER_SOURCE: 'SCHEDULER_SOURCE',
  PEER_SOURCE: 'PEER_SOURCE',
  SEED_PEER_SOURCE: 'SEED_PEER_SOURCE',
} as const;

/**
 * Who is asking.
 */
export type SourceType =
  | 'SCHEDULER_SOURCE'
  | 0
  | 'PEER_SOURCE'
  | 1
  | 'SEED_PEER_SOURCE'
  | 2

/**
 * Who is asking.
 */
export type SourceType__Output = typeof SourceType[keyof typeof SourceType]
