// Original file: proto/common/v2/common.proto

/**
 * Where the bytes of a piece came from.
 */
export const TrafficType = {
  BACK_TO_SOURCE: 'BACK_TO_SOURCE',
  REMOTE_PEER: 'REMOTE_PEER',
  LOCAL_PEER: 'LOCAL_PEER',
} as const;

/**
 * Where the bytes of a piece came from.
 */
export type TrafficType =
  | 'BACK_TO_SOURCE'
  | 0
  | 'REMOTE_PEER'
  | 1
  | 'LOCAL_PEER'
  | 2

/**
 * Where the bytes of a piece came from.
 */
export type TrafficType__Output = typeof TrafficType[keyof typeof TrafficType]
