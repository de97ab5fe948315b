import { statfs } from "node:fs/promises";
import type { Host } from "@damselfly/rpc";
import { percent } from "./system-file.ts";

/** What getrusage(2) counts a disk's traffic in. Bytes. */
const BLOCK_LENGTH = 512;

/** The file system that content lies on, and what this process reads from and writes to disks: the mean since the last reading. */
export class DiskGauge {
  readonly #directory: string;
  readonly #now: () => number;
  #last = { read: 0, written: 0, atMs: 0 };

  constructor(directory: string, options: { readonly now?: () => number } = {}) {
    this.#directory = directory;
    // Since the process began.
    this.#now = options.now ?? (() => performance.now());
  }

  /** @throws {Error} when there is no such directory */
  async read(): Promise<NonNullable<Host["disk"]>> {
    const { blocks, bavail, bsize, files, ffree } = await statfs(this.#directory);
    const total = blocks * bsize;
    const free = bavail * bsize;
    const { readBandwidth, writeBandwidth } = this.#bandwidth();
    return {
      total,
      free,
      used: total - free,
      usedPercent: percent(total - free, total),
      inodesTotal: files,
      inodesUsed: files - ffree,
      inodesFree: ffree,
      inodesUsedPercent: percent(files - ffree, files),
      readBandwidth,
      writeBandwidth,
    };
  }

  /** Bytes a second. */
  #bandwidth(): { readonly readBandwidth: number; readonly writeBandwidth: number } {
    const { fsRead, fsWrite } = process.resourceUsage();
    const now = { read: fsRead, written: fsWrite, atMs: this.#now() };
    const last = this.#last;
    this.#last = now;
    const seconds = Math.max(now.atMs - last.atMs, 1) / 1000;
    const rate = (blocks: number): number =>
      Math.max(0, Math.round((blocks * BLOCK_LENGTH) / seconds));
    return {
      readBandwidth: rate(now.read - last.read),
      writeBandwidth: rate(now.written - last.written),
    };
  }
}
