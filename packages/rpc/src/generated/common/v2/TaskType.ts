// Original file: proto/common/v2/common.proto

/**
 * How long a task is meant to live, and where. Damselfly serves STANDARD only.
 */
export const TaskType = {
  STANDARD: 'STANDARD',
  PERSISTENT: 'PERSISTENT',
  PERSISTENT_CACHE: 'PERSISTENT_CACHE',
  CACHE: 'CACHE',
} as const;

/**
 * How long a task is meant to live, and where. Damselfly serves STANDARD only.
 */
export type TaskType =
  | 'STANDARD'
  | 0
  | 'PERSISTENT'
  | 1
  | 'PERSISTENT_CACHE'
  | 2
  | 'CACHE'
  | 3

/**
 * How long a task is meant to live, and where. Damselfly serves STANDARD only.
 */
export type TaskType__Output = typeof TaskType[keyof typeof TaskType]
