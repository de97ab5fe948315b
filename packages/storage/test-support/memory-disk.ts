import { constants } from "node:fs";
import { basename, dirname } from "node:path";
import { crc32 } from "node:zlib";

import type { DiskStat, FileHandle, FileStat, FileSystem } from "../src/file-system.ts";
import { StorageError } from "../src/errors.ts";
import { Inode, LOSE_NOTHING, type PowerLoss } from "./memory-inode.ts";

/** One operation, before it is done. */
export interface Step {
  readonly name: keyof FileSystem | keyof FileHandle;
  readonly path: string;
  /** It changes what is on the disk, or what would survive a power failure. */
  readonly changes: boolean;
}

export interface MemoryDiskOptions {
  /** Called before each operation. A code, as in `EIO`, has it fail with that, and nothing done. */
  readonly onStep?: (step: Step) => string | undefined;
  /** Bytes that fit; default is plenty. */
  readonly capacity?: number;
  /** Bytes that one write takes at most, as a kernel may; default is all. */
  readonly writeLengthMax?: number;
}

/**
 * A disk in memory, under a kernel that keeps what is written to itself until it is told to sync. What is left of it after a kill, or a
 * power failure at its worst, can be had at any moment as another disk.
 */
export class MemoryDisk implements FileSystem {
  onStep: MemoryDiskOptions["onStep"];
  capacity: number;
  readonly #writeLengthMax: number;
  readonly #root: Inode;
  readonly #clock: { nowNs: bigint; ino: bigint };
  readonly #locks = new Set<string>();

  constructor(options: MemoryDiskOptions = {}, from?: MemoryDisk, loss: PowerLoss = LOSE_NOTHING) {
    this.onStep = options.onStep;
    this.capacity = options.capacity ?? from?.capacity ?? 2 ** 40;
    this.#writeLengthMax = options.writeLengthMax ?? Infinity;
    this.#clock = from === undefined ? { nowNs: 10n ** 18n, ino: 100n } : { ...from.#clock };
    this.#root =
      from === undefined ? new Inode("directory", 2n, 0n) : from.#root.after(loss, new Map());
  }

  /** What the next process finds when this one is killed now: all that was written, synced or not. */
  afterKill(): MemoryDisk {
    return new MemoryDisk({}, this);
  }

  /** What the next process finds when the power fails now. */
  afterPowerLoss(loss: PowerLoss): MemoryDisk {
    return new MemoryDisk({}, this, loss);
  }

  /** Every path that is there, with the bytes of files, in order. */
  list(): ReadonlyMap<string, Buffer> {
    const found = new Map<string, Buffer>();
    const walk = (directory: Inode, path: string): void => {
      for (const [name, inode] of [...directory.entries].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        if (inode.kind === "directory") walk(inode, `${path}/${name}`);
        else found.set(`${path}/${name}`, Buffer.from(inode.bytes));
      }
    };
    walk(this.#root, "");
    return found;
  }

  /** Equal for disks on which everything is the same. */
  summary(): string {
    const lines: string[] = [];
    const walk = (directory: Inode, path: string): void => {
      for (const [name, inode] of [...directory.entries].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        const { ino, mtimeNs, ctimeNs, bytes } = inode;
        lines.push(
          `${path}/${name} ${ino} ${mtimeNs} ${ctimeNs} ${bytes.byteLength} ${crc32(bytes)}`,
        );
        walk(inode, `${path}/${name}`);
      }
    };
    walk(this.#root, "");
    return lines.join("\n");
  }

  read(path: string): Buffer {
    return Buffer.from(this.#find(path, "read").bytes);
  }

  /** Changes a file as somebody else would: in place, and for stat to see. */
  patch(path: string, change: (bytes: Buffer) => Buffer): void {
    const inode = this.#find(path, "patch");
    const bytes = change(Buffer.from(inode.bytes));
    inode.truncate(bytes.byteLength, this.#tick());
    inode.write(bytes, 0, this.#tick());
  }

  /** As its owner would. */
  sync(path: string): void {
    this.#find(path, "sync").syncBytes({ times: true });
  }

  /** Changes a byte, by default all bits of it, and stat does not show it. */
  rot(path: string, position: number, byte?: number): void {
    const inode = this.#find(path, "rot");
    const { mtimeNs, ctimeNs } = inode;
    inode.write(Buffer.of(byte ?? (inode.bytes[position] ?? 0) ^ 0xff), position, this.#tick());
    inode.mtimeNs = mtimeNs;
    inode.ctimeNs = ctimeNs;
    inode.syncBytes({ times: true });
  }

  async open(path: string, flags: number, mode?: number): Promise<FileHandle> {
    void mode;
    const creates = (flags & constants.O_CREAT) !== 0;
    await this.#step({ name: "open", path, changes: creates });
    const directory = this.#find(dirname(path), "open");
    let inode = directory.entries.get(basename(path));
    if (inode === undefined) {
      if (!creates) throw failure("ENOENT", "open", path);
      inode = this.#create("file");
      directory.setEntry(basename(path), inode, this.#tick());
    } else if ((flags & constants.O_EXCL) !== 0) throw failure("EEXIST", "open", path);
    if (inode.kind === "directory") throw failure("EISDIR", "open", path);
    if ((flags & constants.O_TRUNC) !== 0) inode.truncate(0, this.#tick());
    return new MemoryHandle(inode, {
      step: (name, changes) => this.#step({ name, path, changes }),
      tick: () => this.#tick(),
      writeLengthMax: this.#writeLengthMax,
      reserve: (bytes) => {
        if (bytes > this.capacity - this.#allocated()) throw failure("ENOSPC", "write", path);
      },
    });
  }

  async lstat(path: string): Promise<FileStat> {
    await this.#step({ name: "lstat", path, changes: false });
    return this.#find(path, "lstat").stat();
  }

  async stat(path: string): Promise<FileStat> {
    await this.#step({ name: "stat", path, changes: false });
    return this.#find(path, "stat").stat();
  }

  async statfs(path: string): Promise<DiskStat> {
    await this.#step({ name: "statfs", path, changes: false });
    this.#find(path, "statfs");
    return { bsize: 1, blocks: this.capacity, bavail: this.capacity - this.#allocated() };
  }

  async access(path: string): Promise<void> {
    await this.#step({ name: "access", path, changes: false });
    this.#find(path, "access");
  }

  async readdir(path: string): Promise<string[]> {
    await this.#step({ name: "readdir", path, changes: false });
    const directory = this.#find(path, "readdir");
    if (directory.kind !== "directory") throw failure("ENOTDIR", "readdir", path);
    return [...directory.entries.keys()];
  }

  async mkdir(path: string): Promise<void> {
    await this.#step({ name: "mkdir", path, changes: true });
    const directory = this.#find(dirname(path), "mkdir");
    if (directory.entries.has(basename(path))) throw failure("EEXIST", "mkdir", path);
    directory.setEntry(basename(path), this.#create("directory"), this.#tick());
  }

  async rmdir(path: string): Promise<void> {
    await this.#step({ name: "rmdir", path, changes: true });
    const inode = this.#find(path, "rmdir");
    if (inode.kind !== "directory") throw failure("ENOTDIR", "rmdir", path);
    if (inode.entries.size > 0) throw failure("ENOTEMPTY", "rmdir", path);
    this.#find(dirname(path), "rmdir").setEntry(basename(path), undefined, this.#tick());
  }

  async link(existing: string, path: string): Promise<void> {
    await this.#step({ name: "link", path, changes: true });
    const inode = this.#find(existing, "link");
    if (inode.kind !== "file") throw failure("EPERM", "link", path);
    const directory = this.#find(dirname(path), "link");
    if (directory.entries.has(basename(path))) throw failure("EEXIST", "link", path);
    directory.setEntry(basename(path), inode, this.#tick());
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step({ name: "rename", path: to, changes: true });
    const inode = this.#find(from, "rename");
    const directory = this.#find(dirname(from), "rename");
    const there = this.#find(dirname(to), "rename").entries.get(basename(to));
    if (there === inode) return;
    if (there?.kind === "directory" && inode.kind === "file") throw failure("EISDIR", "rename", to);
    if (dirname(from) !== dirname(to)) throw failure("EXDEV", "rename", to);
    directory.rename(basename(from), basename(to), this.#tick());
  }

  async unlink(path: string): Promise<void> {
    await this.#step({ name: "unlink", path, changes: true });
    if (this.#find(path, "unlink").kind === "directory") throw failure("EISDIR", "unlink", path);
    this.#find(dirname(path), "unlink").setEntry(basename(path), undefined, this.#tick());
  }

  async clone(_from: string, to: string): Promise<void> {
    await this.#step({ name: "clone", path: to, changes: false });
    throw failure("ENOTSUP", "clone", to);
  }

  async utimes(path: string, atMs: number): Promise<void> {
    await this.#step({ name: "utimes", path, changes: true });
    const inode = this.#find(path, "utimes");
    inode.mtimeNs = BigInt(Math.round(atMs * 1e6));
    inode.ctimeNs = this.#tick();
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#step({ name: "syncDirectory", path, changes: true });
    this.#find(path, "fsync").syncEntries();
  }

  async lock(path: string): Promise<AsyncDisposable> {
    await this.#step({ name: "lock", path, changes: false });
    if (this.#locks.has(path)) throw new StorageError("ERR_STORAGE_LOCKED", "Cannot lock: it is");
    this.#locks.add(path);
    return {
      [Symbol.asyncDispose]: async () => void this.#locks.delete(path),
    };
  }

  async #step(step: Step): Promise<void> {
    const code = this.onStep?.(step);
    if (code !== undefined) throw failure(code, step.name, step.path);
  }

  #create(kind: Inode["kind"]): Inode {
    return new Inode(kind, this.#clock.ino++, this.#tick());
  }

  /** No two changes at the same time, as stamps with nanoseconds have it. */
  #tick(): bigint {
    this.#clock.nowNs += 1_000_000n;
    return this.#clock.nowNs;
  }

  #find(path: string, call: string): Inode {
    let inode = this.#root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      if (inode.kind !== "directory") throw failure("ENOTDIR", call, path);
      const next = inode.entries.get(name);
      if (next === undefined) throw failure("ENOENT", call, path);
      inode = next;
    }
    return inode;
  }

  #allocated(): number {
    const seen = new Set<Inode>();
    const walk = (inode: Inode): void => {
      seen.add(inode);
      for (const inner of inode.entries.values()) walk(inner);
    };
    walk(this.#root);
    let sum = 0;
    for (const inode of seen) sum += Number(inode.stat().blocks) * 512;
    return sum;
  }
}

class MemoryHandle implements FileHandle {
  readonly #inode: Inode;
  readonly #disk: {
    readonly step: (name: keyof FileHandle, changes: boolean) => Promise<void>;
    readonly tick: () => bigint;
    readonly writeLengthMax: number;
    readonly reserve: (bytes: number) => void;
  };

  constructor(
    inode: Inode,
    disk: {
      readonly step: (name: keyof FileHandle, changes: boolean) => Promise<void>;
      readonly tick: () => bigint;
      readonly writeLengthMax: number;
      readonly reserve: (bytes: number) => void;
    },
  ) {
    this.#inode = inode;
    this.#disk = disk;
  }

  async read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }> {
    await this.#disk.step("read", false);
    const bytes = this.#inode.bytes.subarray(position, position + length);
    buffer.set(bytes, offset);
    return { bytesRead: bytes.byteLength };
  }

  async write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }> {
    await this.#disk.step("write", true);
    const taken = Math.min(length, this.#disk.writeLengthMax);
    this.#disk.reserve(this.#inode.growthOf(position, taken));
    this.#inode.write(buffer.subarray(offset, offset + taken), position, this.#disk.tick());
    return { bytesWritten: taken };
  }

  async truncate(length: number): Promise<void> {
    await this.#disk.step("truncate", true);
    this.#inode.truncate(length, this.#disk.tick());
  }

  async stat(): Promise<FileStat> {
    await this.#disk.step("stat", false);
    return this.#inode.stat();
  }

  async datasync(): Promise<void> {
    await this.#syncing("datasync");
    this.#inode.syncBytes({ times: false });
  }

  async sync(): Promise<void> {
    await this.#syncing("sync");
    this.#inode.syncBytes({ times: true });
  }

  async #syncing(name: "sync" | "datasync"): Promise<void> {
    try {
      await this.#disk.step(name, true);
    } catch (error) {
      this.#inode.forgetWrites();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#disk.step("close", false);
  }
}

function failure(code: string, syscall: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}
