import { execFile } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { createDfdaemonDownloadClient } from "@damselfly/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sha256, sha256OfFile, useCluster, type RunningDaemon } from "./support/daemon.ts";
import { openOriginServer, seededContent, type OriginServer } from "./support/origin-server.ts";

const PIECE_LENGTH = 4 * 2 ** 20;
const CONTENT = seededContent(2 * PIECE_LENGTH + 100_003);
const SHA256 = sha256(CONTENT);
const run = promisify(execFile);

let origin: OriginServer;
let fileCount = 0;

beforeAll(async () => {
  origin = await openOriginServer();
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

function serve(): string {
  fileCount += 1;
  origin.set(`/file-${fileCount}`, { content: CONTENT });
  return `${origin.url}/file-${fileCount}`;
}

/** What somebody else, a broken disk or a broken program may do to a file, all of it for stat to see. */
const DAMAGES: [string, (path: string) => Promise<void>][] = [
  ["cut short", (path) => truncate(path, 1000)],
  ["emptied", (path) => truncate(path, 0)],
  ["overwritten in part", (path) => overwrite(path, Buffer.alloc(100, 0x55))],
  ["zeroed in part", (path) => overwrite(path, Buffer.alloc(65_536))],
  ["put together in another order", swapHalves],
  ["full of holes", punchHole],
];

async function overwrite(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "r+");
  const { size } = await file.stat();
  await file.write(
    bytes,
    0,
    Math.min(bytes.byteLength, Math.floor(size / 2)),
    Math.floor(size / 3),
  );
  await file.close();
}

/** In place: of a content file these are pieces, more or less. */
async function swapHalves(path: string): Promise<void> {
  const bytes = await readFile(path);
  const half = bytes.byteLength >> 1;
  const file = await open(path, "r+");
  await file.write(bytes, half, half, 0);
  await file.write(bytes, 0, half, half);
  await file.close();
}

async function punchHole(path: string): Promise<void> {
  const { size } = await stat(path);
  // What the file system has no call for is written as zeros.
  await run("fallocate", ["-p", "-o", String(size >> 2), "-l", String(size >> 2), path]).catch(
    async () => {
      const file = await open(path, "r+");
      await file.write(Buffer.alloc(size >> 2), 0, size >> 2, size >> 2);
      await file.close();
    },
  );
}

function contentPathOf(daemon: RunningDaemon, taskId: string): string {
  return join(daemon.storageDirectory, "damselfly", "content", taskId.slice(0, 3), taskId);
}

describe("a node's content", () => {
  const cluster = useCluster("file");
  let daemon: RunningDaemon;
  const start = (): Promise<RunningDaemon> => cluster.startDaemon({ name: "node" });

  it.each(DAMAGES)(
    "that is %s while it runs is fetched anew, and nobody gets it",
    async (_name, damage) => {
      daemon ??= await start();
      const url = serve();
      const { taskId } = await cluster.fetch(url, { daemon });
      await damage(contentPathOf(daemon, taskId));
      const again = await cluster.fetch(url, { daemon });
      expect(again.sha256).toBe(SHA256);
      expect(again.fromOrigin).toBeGreaterThan(0);
    },
  );

  it("that was damaged in any of these ways while it was stopped is fetched anew", async () => {
    daemon ??= await start();
    const files = await Promise.all(
      DAMAGES.map(async ([name, damage]) => {
        const url = serve();
        const { taskId } = await cluster.fetch(url, { daemon });
        return { name, damage, url, path: contentPathOf(daemon, taskId) };
      }),
    );
    daemon.child.kill("SIGKILL");
    await daemon.child.exited;
    for (const { damage, path } of files) await damage(path);
    daemon = await start();
    for (const { name, url } of files) {
      const again = await cluster.fetch(url, { daemon });
      expect([name, again.sha256]).toEqual([name, SHA256]);
      expect([name, again.fromOrigin > 0]).toEqual([name, true]);
    }
  });

  it.each(DAMAGES)(
    "that is %s while it is handed over is fetched anew on the way, and once for all who take it",
    async (_name, damage) => {
      daemon ??= await start();
      fileCount += 1;
      const path = `/file-${fileCount}`;
      // More than what is on its way to somebody who takes nothing.
      const content = seededContent(16 * PIECE_LENGTH);
      origin.set(path, { content });
      const download = { url: `${origin.url}${path}`, needPieceContent: true };
      const { taskId } = await cluster.fetch(download.url, { daemon });
      await using client = createDfdaemonDownloadClient(daemon);
      let begunCount = 0;
      let damaged: Promise<void> | undefined;
      const gate = new EventEmitter();
      const opened = once(gate, "open");
      const take = async (): Promise<string> => {
        const parts: Uint8Array[] = [];
        let startedCount = 0;
        for await (const response of client.downloadTask({ download })) {
          if (response.downloadTaskStartedResponse) startedCount += 1;
          const piece = response.downloadPieceFinishedResponse?.piece;
          if (!piece?.content) continue;
          parts[piece.number] = piece.content;
          if (parts.filter(Boolean).length !== 1) continue;
          begunCount += 1;
          if (begunCount === 2) gate.emit("open");
          await opened;
          damaged ??= damage(contentPathOf(daemon, taskId));
          await damaged;
        }
        expect(startedCount).toBe(1);
        return sha256(Buffer.concat(parts));
      };
      expect(await Promise.all([take(), take()])).toEqual([sha256(content), sha256(content)]);
      const again = origin.bodyBytes(path) - content.length;
      expect(again).toBeGreaterThan(0);
      expect(again).toBeLessThanOrEqual(content.length);
    },
  );

  it("whose journals were damaged in any of these ways is given out or fetched, and they are set aside", async () => {
    daemon ??= await start();
    const files = await Promise.all(
      DAMAGES.map(async ([name, damage]) => {
        const url = serve();
        const { taskId } = await cluster.fetch(url, { daemon });
        return { name, damage, url, path: `${contentPathOf(daemon, taskId)}.journal` };
      }),
    );
    await daemon.child.end();
    for (const { damage, path } of files) await damage(path);
    daemon = await start();
    for (const { name, url } of files) {
      const again = await cluster.fetch(url, { daemon });
      expect([name, again.sha256]).toEqual([name, SHA256]);
    }
    // Torn ones are written on, empty ones say nothing; the others are kept for somebody to look at.
    const setAside = files.filter(({ path }) => existsSync(`${path}.damaged-1`));
    expect(setAside.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        "overwritten in part",
        "zeroed in part",
        "put together in another order",
      ]),
    );
  });
});

describe("a seed's content", () => {
  const cluster = useCluster("file");

  it("that is damaged is given to no child, and repaired", async () => {
    const scheduler = (await cluster.startScheduler()).address;
    const seed = await cluster.startDaemon({ name: "seed", seed: true, scheduler });
    const child = await cluster.startDaemon({ name: "child", scheduler });
    const files = await Promise.all(
      DAMAGES.map(async ([name, damage]) => {
        const url = serve();
        const { taskId } = await cluster.fetch(url, { daemon: seed });
        return { name, damage, url, path: contentPathOf(seed, taskId) };
      }),
    );
    for (const { name, damage, url, path } of files) {
      await damage(path);
      const got = await cluster.fetch(url, { daemon: child });
      expect([name, got.sha256]).toEqual([name, SHA256]);
      expect([name, (await cluster.fetch(url, { daemon: seed })).sha256]).toEqual([name, SHA256]);
    }
  });
});

describe("an output that is its node's content by another name", () => {
  const cluster = useCluster("file");
  let daemon: RunningDaemon;
  const EDITS: [string, (path: string) => Promise<unknown>][] = [
    ...DAMAGES,
    ["appended to", (path) => writeFile(path, "more", { flag: "a" })],
    [
      "written over by dd",
      (path) => run("dd", [`of=${path}`, "if=/dev/urandom", "bs=4k", "count=3", "conv=notrunc"]),
    ],
    ["edited by sed", (path) => run("sed", ["-i", "1s/^/edited/", path])],
    ["written to through a memory map", (path) => run("python3", ["-c", MAPPED_WRITE, path])],
    ["made unreadable for others", (path) => run("chmod", ["600", path])],
  ];

  it.each(EDITS)(
    "and is %s does not change what others get, and stays its user's",
    async (_name, edit) => {
      daemon ??= await cluster.startDaemon({ name: "node" });
      const url = serve();
      const output = cluster.path("mine");
      const { taskId } = await cluster.fetch(url, { daemon, output });
      expect((await stat(output)).ino).toBe((await stat(contentPathOf(daemon, taskId))).ino);
      await edit(output);
      const mine = await sha256OfFile(output);
      const others = await cluster.fetch(url, { daemon });
      expect(others.sha256).toBe(SHA256);
      expect(await sha256OfFile(output)).toBe(mine);
    },
  );

  it("may be edited while it is downloaded and served", async () => {
    daemon ??= await cluster.startDaemon({ name: "node" });
    const url = serve();
    const output = cluster.path("mine");
    await cluster.fetch(url, { daemon, output });
    const over = new AbortController();
    const editing = (async () => {
      for (let round = 0; !over.signal.aborted; round += 1)
        await overwrite(output, Buffer.alloc(500, round));
    })();
    const downloads = Array.from({ length: 4 }, () => cluster.fetch(url, { daemon }));
    try {
      for (const got of await Promise.all(downloads)) expect(got.sha256).toBe(SHA256);
    } finally {
      over.abort();
      await editing;
    }
  });
});

const MAPPED_WRITE = `
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    with mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5_000_000:5_000_010] = b"0123456789"
`;

const FORGET = `
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
`;

/** A disk whose bits can be flipped under the file system, so that stat shows nothing: a file with ext4 in it. */
class RottingDisk {
  readonly #image: string;
  readonly #directory: string;
  #isMounted = false;
  #isShared = false;

  constructor(image: string, directory: string) {
    this.#image = image;
    this.#directory = directory;
  }

  /** False where it may not be mounted. */
  async make(): Promise<boolean> {
    await truncate(this.#image, 0).catch(() => writeFile(this.#image, ""));
    await truncate(this.#image, 128 << 20);
    await mkdir(this.#directory, { recursive: true });
    try {
      await run("mkfs.ext4", ["-q", "-F", this.#image]);
      // What is begun in a network namespace gets a copy of every mount, and the kernel keeps what it knows of a disk while anybody has it
      // mounted. Below one that is shared what is unmounted here is unmounted there.
      await run("mount", ["--bind", this.#directory, this.#directory]);
      this.#isShared = true;
      await run("mount", ["--make-shared", this.#directory]);
      await this.mount();
      return true;
    } catch {
      return false;
    }
  }

  async mount(): Promise<void> {
    await run("mount", ["-o", "loop", this.#image, this.#directory]);
    this.#isMounted = true;
  }

  async unmount(): Promise<void> {
    if (!this.#isMounted) return;
    this.#isMounted = false;
    await run("umount", [this.#directory]);
  }

  /** The same while it is mounted: what the kernel has of that file is forgotten. */
  async rotUnder(path: string, bytes: Uint8Array): Promise<void> {
    await run("sync", ["-f", path]);
    await this.rot(bytes);
    await run("python3", ["-c", FORGET, path]);
  }

  /** Finds these bytes wherever the file system keeps them, and changes them. */
  async rot(bytes: Uint8Array): Promise<void> {
    const image = await readFile(this.#image);
    const position = image.indexOf(bytes);
    if (position < 0 || image.indexOf(bytes, position + 1) >= 0)
      throw new Error("expected the bytes once on the disk");
    const file = await open(this.#image, "r+");
    await file.write(Buffer.from([~(bytes[0] ?? 0) & 0xff]), 0, 1, position);
    await file.close();
  }

  async remove(): Promise<void> {
    await this.unmount();
    if (this.#isShared) await run("umount", [this.#directory]);
  }
}

describe("bits that flip on the disk, without a trace in stat,", () => {
  const cluster = useCluster("test");
  let disk: RottingDisk;

  beforeEach(async ({ skip }) => {
    disk = new RottingDisk(cluster.path("image"), join(cluster.directory, "node"));
    const isMounted = await disk.make();
    skip(!isMounted, "only root can mount a disk with ext4");
  });

  afterEach(async () => {
    // Ends what has files open there.
    await cluster.endAll();
    await disk.remove();
  });

  /** A node that has a file, of which a bit of the second piece has flipped. */
  async function withRot(
    settings: Readonly<Record<string, string | number>>,
    options: { readonly scheduler?: string; readonly seed?: boolean } = {},
  ): Promise<{ daemon: RunningDaemon; url: string }> {
    const start = (more = {}): Promise<RunningDaemon> =>
      cluster.startDaemon({ name: "node", settings: { ...settings, ...more }, ...options });
    const url = serve();
    // A pass that ends before anything has rotted is the only one of the day.
    const first = await start({ "storage.scrubRate": 0 });
    expect((await cluster.runDfget(url, { daemon: first, output: "-" })).exit.code).toBe(0);
    await first.child.end();
    await disk.unmount();
    await disk.rot(CONTENT.subarray(PIECE_LENGTH + 5000, PIECE_LENGTH + 5064));
    await disk.mount();
    return { daemon: await start(), url };
  }

  it("are found before a byte is handed out, with storage.verifyOnHit: full", async () => {
    const { daemon, url } = await withRot({
      "storage.verifyOnHit": "full",
      "storage.scrubRate": 0,
    });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: PIECE_LENGTH });
  });

  it("are found when the content is handed over itself, and fetched again on the way", async () => {
    const { daemon, url } = await withRot({ "storage.scrubRate": 0 });
    const [one, other] = await Promise.all([
      cluster.runDfget(url, { daemon, output: "-" }),
      cluster.runDfget(url, { daemon, output: "-", flags: ["--digest", `sha256:${SHA256}`] }),
    ]);
    expect([one.exit.code, other.exit.code]).toEqual([0, 0]);
    expect([sha256(one.stdout), sha256(other.stdout)]).toEqual([SHA256, SHA256]);
    const { pathname } = new URL(url);
    expect(origin.bodyBytes(pathname)).toBe(CONTENT.length + PIECE_LENGTH);
  });

  it("are found when a part of it is, and are in none that it gives when the origin is gone", async () => {
    const { daemon, url } = await withRot({ "storage.scrubRate": 0 });
    const { pathname } = new URL(url);
    origin.set(pathname, { status: 500 });
    const refused = await cluster.runDfget(url, { daemon, output: "-" });
    expect(refused.exit.code).toBe(1);
    expect(refused.stderr).toContain("500");
    expect(Buffer.compare(refused.stdout, CONTENT.subarray(0, refused.stdout.length))).toBe(0);
    origin.set(pathname, { content: CONTENT });
    const [from, to] = [PIECE_LENGTH + 1000, 2 * PIECE_LENGTH + 10];
    const flags = ["--range", `${from}-${to}`];
    const part = await cluster.runDfget(url, { daemon, output: "-", flags });
    expect(part.done).toMatchObject({ fromOrigin: PIECE_LENGTH - 1000 });
    expect(Buffer.compare(part.stdout, CONTENT.subarray(from, to + 1))).toBe(0);
    const whole = await cluster.fetch(url, { daemon, flags: ["--transfer-from-dfdaemon"] });
    expect(whole).toMatchObject({ sha256: SHA256, fromOrigin: 0 });
  });

  it("are found by the digest that a user names, and fetched anew", async () => {
    const { daemon, url } = await withRot({ "storage.scrubRate": 0 });
    const flags = ["--digest", `sha256:${SHA256}`];
    const got = await cluster.fetch(url, { daemon, flags });
    expect(got.sha256).toBe(SHA256);
    const { pathname } = new URL(url);
    expect(origin.bodyBytes(pathname)).toBe(CONTENT.length + PIECE_LENGTH);
  });

  it.each([`sha256:${SHA256}`, `crc32:${crc32(CONTENT)}`])(
    "are found by the digest that a user names, also where it was known before they flipped (%s)",
    async (digest) => {
      const settings = { "storage.scrubRate": 0 };
      const daemon = await cluster.startDaemon({ name: "node", settings });
      const url = serve();
      const flags = ["--digest", digest];
      const first = await cluster.runDfget(url, { daemon, output: "-", flags });
      expect(first.exit.code).toBe(0);
      const content = contentPathOf(daemon, first.done!.taskId);
      await disk.rotUnder(content, CONTENT.subarray(PIECE_LENGTH + 5000, PIECE_LENGTH + 5064));
      // On the same disk, so that it is made without a look at its bytes.
      const output = join(daemon.storageDirectory, "output");
      const got = await cluster.fetch(url, { daemon, output, flags });
      expect(got.sha256).toBe(SHA256);
      const { pathname } = new URL(url);
      expect(origin.bodyBytes(pathname)).toBe(CONTENT.length + PIECE_LENGTH);
    },
  );

  it("are found by the scrub", async () => {
    const { daemon, url } = await withRot({
      "storage.scrubRate": "100MiB",
      "storage.pieceDigest": "sha256",
    });
    await daemon.untilLogged("piece no longer matches its digest: withdrawn");
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: PIECE_LENGTH });
    const journal = await readFile(`${contentPathOf(daemon, got.taskId)}.journal`, "latin1");
    expect(journal).toContain(
      `"strongDigest":"sha256:${sha256(CONTENT.subarray(0, PIECE_LENGTH))}"`,
    );
  });

  it("are given to no child", async () => {
    const scheduler = (await cluster.startScheduler()).address;
    const { url } = await withRot({ "storage.scrubRate": 0 }, { scheduler, seed: true });
    const child = await cluster.startDaemon({ name: "child", scheduler });
    expect((await cluster.fetch(url, { daemon: child })).sha256).toBe(SHA256);
  });
});
