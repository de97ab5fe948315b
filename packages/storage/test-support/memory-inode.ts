import type { FileStat } from "../src/file-system.ts";

/** What a power failure takes of one thing that was not synced. */
export interface PowerLoss {
  /** Which of the bytes written since the last sync are on the disk, asked for each page of each write. */
  keepsPage(file: number): boolean;
  /** Whether the file has the length that it had, asked once a file; bytes that are not there are zero. */
  keepsLength(file: number): boolean;
  /** Whether stat shows what it showed. */
  keepsTimes(file: number): boolean;
  /** Which names are as they were last, asked for each change of a name. */
  keepsName(directory: number): boolean;
}

export const LOSE_NOTHING: PowerLoss = {
  keepsPage: () => true,
  keepsLength: () => true,
  keepsTimes: () => true,
  keepsName: () => true,
};

/** A file or directory, as the kernel shows it and as the disk has it. */
export class Inode {
  readonly kind: "file" | "directory";
  readonly ino: bigint;
  /** As everybody sees it. */
  bytes: Buffer = Buffer.alloc(0);
  mtimeNs: bigint;
  ctimeNs: bigint;
  nlink = 0n;
  readonly entries = new Map<string, Inode>();
  /** As it was last synced. */
  #synced: { bytes: Buffer; mtimeNs: bigint; ctimeNs: bigint };
  #syncedEntries = new Map<string, Inode>();
  /** Since then. */
  #writes: { readonly position: number; readonly bytes: Buffer }[] = [];
  /** The shortest that the file has been. */
  #shortest = 0;
  #names: ReadonlyMap<string, Inode | undefined>[] = [];
  /** Pages that are not holes. */
  readonly #pages = new Set<number>();

  constructor(kind: Inode["kind"], ino: bigint, atNs: bigint) {
    this.kind = kind;
    this.ino = ino;
    this.mtimeNs = atNs;
    this.ctimeNs = atNs;
    this.#synced = { bytes: this.bytes, mtimeNs: atNs, ctimeNs: atNs };
  }

  stat(): FileStat {
    return {
      dev: 1n,
      ino: this.ino,
      nlink: this.nlink,
      size: BigInt(this.bytes.byteLength),
      blocks: BigInt(Math.ceil((this.#pages.size * PAGE_LENGTH) / 512)),
      mtimeNs: this.mtimeNs,
      ctimeNs: this.ctimeNs,
      isFile: () => this.kind === "file",
      isDirectory: () => this.kind === "directory",
      isSymbolicLink: () => false,
    };
  }

  /** Bytes that a write would take of the disk. */
  growthOf(position: number, length: number): number {
    let count = 0;
    for (const page of pagesOf(position, length)) if (!this.#pages.has(page)) count += 1;
    return count * PAGE_LENGTH;
  }

  write(bytes: Uint8Array, position: number, atNs: bigint): void {
    const length = Math.max(this.bytes.byteLength, position + bytes.byteLength);
    const changed = Buffer.alloc(length);
    this.bytes.copy(changed);
    changed.set(bytes, position);
    this.bytes = changed;
    for (const page of pagesOf(position, bytes.byteLength)) {
      this.#pages.add(page);
      const start = Math.max(page * PAGE_LENGTH, position);
      const end = Math.min((page + 1) * PAGE_LENGTH, position + bytes.byteLength);
      this.#writes.push({ position: start, bytes: Buffer.from(changed.subarray(start, end)) });
    }
    this.#stamp(atNs);
  }

  truncate(length: number, atNs: bigint): void {
    const changed = Buffer.alloc(length);
    this.bytes.copy(changed);
    this.bytes = changed;
    this.#shortest = Math.min(this.#shortest, length);
    for (const page of this.#pages) if (page * PAGE_LENGTH >= length) this.#pages.delete(page);
    // Bytes beyond the end are gone from the disk only with the length; until then they are what they were.
    this.#writes = this.#writes
      .map(({ position, bytes }) => ({ position, bytes: bytes.subarray(0, length - position) }))
      .filter(({ position }) => position < length);
    this.#stamp(atNs);
  }

  syncBytes({ times }: { readonly times: boolean }): void {
    const { mtimeNs, ctimeNs } = times ? this : this.#synced;
    const bytes = Buffer.alloc(this.bytes.byteLength);
    this.#synced.bytes.copy(bytes, 0, 0, this.#shortest);
    for (const write of this.#writes) write.bytes.copy(bytes, write.position);
    this.#synced = { bytes, mtimeNs, ctimeNs };
    this.#writes = [];
    this.#shortest = bytes.byteLength;
  }

  /** As Linux does it when a sync has failed: everybody goes on seeing what was written, and nobody tries again to have it on the disk. */
  forgetWrites(): void {
    this.#writes = [];
  }

  setEntry(name: string, inode: Inode | undefined, atNs: bigint): void {
    this.#changeNames(new Map([[name, inode]]), atNs);
  }

  /** One change: a disk has both names as they were, or both as they are. */
  rename(from: string, to: string, atNs: bigint): void {
    const changed = new Map([
      [from, undefined],
      [to, this.entries.get(from)],
    ]);
    this.#changeNames(changed, atNs);
  }

  syncEntries(): void {
    this.#syncedEntries = new Map(this.entries);
    this.#names = [];
  }

  /** @param copies of inodes made so far: two names of one file stay two names of one file */
  after(loss: PowerLoss, copies: Map<Inode, Inode>): Inode {
    const known = copies.get(this);
    if (known !== undefined) return known;
    const copy = new Inode(this.kind, this.ino, 0n);
    copies.set(this, copy);
    this.#giveBytes(copy, loss);
    const entries = new Map(this.#syncedEntries);
    const directory = Number(this.ino);
    for (const change of this.#names) {
      if (!loss.keepsName(directory)) continue;
      for (const [name, inode] of change) {
        if (inode === undefined) entries.delete(name);
        else entries.set(name, inode);
      }
    }
    for (const [name, inode] of entries) {
      const inner = inode.after(loss, copies);
      inner.nlink += 1n;
      copy.entries.set(name, inner);
    }
    if (loss === LOSE_NOTHING) this.#giveDebts(copy, loss, copies);
    else copy.syncEntries();
    return copy;
  }

  #giveBytes(copy: Inode, loss: PowerLoss): void {
    for (const page of this.#pages) copy.#pages.add(page);
    if (loss === LOSE_NOTHING) {
      copy.bytes = this.bytes;
      copy.mtimeNs = this.mtimeNs;
      copy.ctimeNs = this.ctimeNs;
      return;
    }
    const file = Number(this.ino);
    const { bytes } = this.#synced;
    const kept = this.#writes.filter(() => loss.keepsPage(file));
    const ends = kept.map((write) => write.position + write.bytes.byteLength);
    const length = loss.keepsLength(file)
      ? this.bytes.byteLength
      : Math.max(bytes.byteLength, ...ends);
    copy.bytes = Buffer.alloc(length);
    bytes.copy(copy.bytes);
    for (const write of kept) write.bytes.copy(copy.bytes, write.position);
    const times = loss.keepsTimes(file) ? this : this.#synced;
    copy.mtimeNs = times.mtimeNs;
    copy.ctimeNs = times.ctimeNs;
    copy.#synced = { bytes: copy.bytes, mtimeNs: copy.mtimeNs, ctimeNs: copy.ctimeNs };
    copy.#shortest = copy.bytes.byteLength;
  }

  /** The process is dead, the kernel is not: what was not synced still is not. */
  #giveDebts(copy: Inode, loss: PowerLoss, copies: Map<Inode, Inode>): void {
    copy.#synced = { ...this.#synced };
    copy.#writes = [...this.#writes];
    copy.#shortest = this.#shortest;
    const translate = (inode: Inode): Inode => inode.after(loss, copies);
    copy.#syncedEntries = new Map(
      [...this.#syncedEntries].map(([name, inode]) => [name, translate(inode)]),
    );
    copy.#names = this.#names.map(
      (change) => new Map([...change].map(([name, inode]) => [name, inode && translate(inode)])),
    );
  }

  #changeNames(change: ReadonlyMap<string, Inode | undefined>, atNs: bigint): void {
    for (const [name, inode] of change) {
      const before = this.entries.get(name);
      if (inode === undefined) this.entries.delete(name);
      else this.entries.set(name, inode);
      if (before !== undefined) before.#count(-1n, atNs);
      if (inode !== undefined) inode.#count(1n, atNs);
    }
    this.#names.push(change);
  }

  #count(change: bigint, atNs: bigint): void {
    this.nlink += change;
    this.ctimeNs = atNs;
  }

  #stamp(atNs: bigint): void {
    this.mtimeNs = atNs;
    this.ctimeNs = atNs;
  }
}

function* pagesOf(position: number, length: number): Generator<number> {
  if (length === 0) return;
  const last = Math.floor((position + length - 1) / PAGE_LENGTH);
  for (let page = Math.floor(position / PAGE_LENGTH); page <= last; page++) yield page;
}

/** What a disk takes or loses as one, in bytes. Small, so that short files tear. */
const PAGE_LENGTH = 64;
