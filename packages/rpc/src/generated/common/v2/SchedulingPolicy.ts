// Original file: proto/common/v2/common.proto

/**
 * Whether small downloads may skip the scheduler (AUTO) or never do (ALWAYS).
 */
export const SchedulingPolicy = {
  AUTO: 'AUTO',
  ALWAYS: 'ALWAYS',
} as const;

/**
 * Whether small downloads may skip the scheduler (AUTO) or never do (ALWAYS).
 */
export type SchedulingPolicy =
  | 'AUTO'
  | 0
  | 'ALWAYS'
  | 1

/**
 * Whether small downloads may skip the scheduler (AUTO) or never do (ALWAYS).
 */
export type SchedulingPolicy__Output = typeof SchedulingPolicy[keyof typeof SchedulingPolicy]
