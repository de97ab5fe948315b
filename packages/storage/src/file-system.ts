/**
 * All that this package asks of the operating system, so that tests can put another one in its place: one that fails, stops or loses
 * power at any step. Paths are absolute. Everything rejects with errors that have a `code`, as in `ENOENT`. One implementation:
 * `system-files.ts`.
 */
export interface FileSystem {
  /** @param flags of `node:fs` constants, such as `O_RDWR` */
  open(path: string, flags: number, mode?: number): Promise<FileHandle>;
  /** Does not follow a symbolic link in the last place. */
  lstat(path: string): Promise<FileStat>;
  stat(path: string): Promise<FileStat>;
  statfs(path: string): Promise<DiskStat>;
  access(path: string, mode: number): Promise<void>;
  /** Names in no order. */
  readdir(path: string): Promise<string[]>;
  /** One directory; its parent must be there. */
  mkdir(path: string, mode?: number): Promise<void>;
  /** Only an empty one. */
  rmdir(path: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Creates `to` with the same blocks, copied when either file writes to them, or fails. */
  clone(from: string, to: string): Promise<void>;
  /** Sets the time of the last access, and of the last change, in Unix milliseconds. */
  utimes(path: string, atMs: number): Promise<void>;
  /** Makes the names in a directory survive a power failure: new ones, removed ones, renamed ones. */
  syncDirectory(path: string): Promise<void>;
  /** Holds a directory for this process until disposed, or until the process ends, however it ends. @throws {StorageError} `ERR_STORAGE_LOCKED` */
  lock(path: string): Promise<AsyncDisposable>;
}

/** An open file. Node's own fits. Lengths and positions are in bytes. */
export interface FileHandle {
  /** What the process knows it by, for its threads; absent: it is no file of the operating system's. */
  readonly fd?: number;
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }>;
  truncate(length: number): Promise<void>;
  stat(options: { readonly bigint: true }): Promise<FileStat>;
  /** The bytes survive a power failure, and what it takes to find them. */
  datasync(): Promise<void>;
  /** The times too. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Node's `BigIntStats` fits. */
export interface FileStat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  /** Bytes from the first to the last. */
  readonly size: bigint;
  /** What it takes on the disk, in units of 512 bytes. */
  readonly blocks: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

/** Node's `StatsFs` fits. */
export interface DiskStat {
  /** Bytes in one block. */
  readonly bsize: number;
  readonly blocks: number;
  /** Free for this process. */
  readonly bavail: number;
}
