export interface StorageLimits {
  /** Files kept open though nobody uses them; a task has two. More saves opens, costs descriptors. */
  readonly idleFileCountMax: number;
  /** Bytes read from a content file at a time, and so the memory of a piece being served. */
  readonly readLength: number;
  /** Bytes written at a time; a piece being written holds two buffers of this length. */
  readonly writeLength: number;
}

export const DEFAULT_STORAGE_LIMITS: StorageLimits = {
  idleFileCountMax: 128,
  readLength: 512 * 1024,
  // Measured with bench/storage.mjs.
  writeLength: 1024 * 1024,
};
