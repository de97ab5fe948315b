// Original file: proto/common/v2/common.proto

/**
 * How a task's length decides the way it is handed out.
 */
export const SizeScope = {
  NORMAL: 'NORMAL',
  SMALL: 'SMALL',
  TINY: 'TINY',
  EMPTY: 'EMPTY',
} as const;

/**
 * How a task's length decides the way it is handed out.
 */
export type SizeScope =
  | 'NORMAL'
  | 0
  | 'SMALL'
  | 1
  | 'TINY'
  | 2
  | 'EMPTY'
  | 3

/**
 * How a task's length decides the way it is handed out.
 */
export type SizeScope__Output = typeof SizeScope[keyof typeof SizeScope]
