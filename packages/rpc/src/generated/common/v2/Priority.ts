// Original file: proto/common/v2/common.proto

/**
 * How a peer may get at the origin: 0 and 4 to 6 through a seed first, 3 by itself, 2 only if some peer
 * has the task, 1 not at all.
 */
export const Priority = {
  LEVEL0: 'LEVEL0',
  LEVEL1: 'LEVEL1',
  LEVEL2: 'LEVEL2',
  LEVEL3: 'LEVEL3',
  LEVEL4: 'LEVEL4',
  LEVEL5: 'LEVEL5',
  LEVEL6: 'LEVEL6',
} as const;

/**
 * How a peer may get at the origin: 0 and 4 to 6 through a seed first, 3 by itself, 2 only if some peer
 * has the task, 1 not at all.
 */
export type Priority =
  | 'LEVEL0'
  | 0
  | 'LEVEL1'
  | 1
  | 'LEVEL2'
  | 2
  | 'LEVEL3'
  | 3
  | 'LEVEL4'
  | 4
  | 'LEVEL5'
  | 5
  | 'LEVEL6'
  | 6

/**
 * How a peer may get at the origin: 0 and 4 to 6 through a seed first, 3 by itself, 2 only if some peer
 * has the task, 1 not at all.
 */
export type Priority__Output = typeof Priority[keyof typeof Priority]
