import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rm, type FileHandle } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { StorageError, systemCode, toStorageError } from "./errors.ts";

/**
 * Holds a directory for one storage, by listening on a unix socket of a random name in `path`.
 *
 * The kernel answers for the holder: it refuses connections the moment the holder is dead, however it died, and accepts them
 * while it lives, also when it hangs. A file with a process id can say neither across containers and reboots.
 * Connections are never used for anything.
 *
 * Everybody listens first and looks at the others then, so of two that start at once at least one sees the other, and steps back.
 * A dead socket never comes to life again and its name is never used again, so removing it cannot hurt anybody.
 *
 * @throws {StorageError} `ERR_STORAGE_LOCKED` if somebody holds it
 */
export async function acquireLock(path: string): Promise<AsyncDisposable> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    for (let attempt = 1; ; attempt++) {
      const candidate = await Candidate.listen(path);
      try {
        if (await candidate.isAlone()) return candidate;
      } catch (error) {
        await candidate[Symbol.asyncDispose]();
        throw error;
      }
      await candidate[Symbol.asyncDispose]();
      if (attempt === ATTEMPT_COUNT_MAX) break;
      // The other one may have been a candidate that steps back as well: who comes first now is left to chance.
      await sleep(Math.random() * RETRY_DELAY_MS_MAX);
    }
  } catch (error) {
    throw toStorageError(`lock storage ${dirname(path)}`, error);
  }
  throw new StorageError(
    "ERR_STORAGE_LOCKED",
    `Cannot open storage ${dirname(path)}: another process has it open`,
  );
}

/** Listens in the directory, and holds it if nobody else does. */
class Candidate implements AsyncDisposable {
  readonly #path: string;
  readonly #name: string;
  readonly #server: Server;
  /** A socket's address has little room: by way of the open directory it is short (Linux). */
  readonly #directory: FileHandle;
  #releasing: Promise<void> | undefined;

  private constructor(path: string, name: string, server: Server, directory: FileHandle) {
    this.#path = path;
    this.#name = name;
    this.#server = server;
    this.#directory = directory;
  }

  static async listen(path: string): Promise<Candidate> {
    const directory = await open(path, "r");
    try {
      const name = randomBytes(NAME_LENGTH / 2).toString("hex");
      const server = await listen(addressOf(path, name, directory));
      return new Candidate(path, name, server, directory);
    } catch (error) {
      await directory.close();
      throw error;
    }
  }

  async isAlone(): Promise<boolean> {
    const names = await readdir(this.#path);
    for (const name of names) {
      if (name === this.#name) continue;
      if (await answers(addressOf(this.#path, name, this.#directory))) return false;
      await rm(join(this.#path, name), { force: true });
    }
    // Between naming a socket and listening on it there is a moment in which it looks dead, and may have been removed.
    return names.includes(this.#name);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    // Closing removes the socket's name too.
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#directory.close();
  }
}

function addressOf(path: string, name: string, directory: FileHandle): string {
  const address = join(path, name);
  if (Buffer.byteLength(address) <= ADDRESS_LENGTH_MAX) return address;
  return `/proc/self/fd/${directory.fd}/${name}`;
}

function listen(address: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", reject);
    server.listen(address, () => resolve(server));
  });
}

/** Whether somebody listens. Anything but a clear no counts as yes. */
function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => {
      const code = systemCode(error);
      resolve(code !== "ECONNREFUSED" && code !== "ENOENT" && code !== "ENOTSOCK");
    });
  });
}

const ATTEMPT_COUNT_MAX = 6;
const RETRY_DELAY_MS_MAX = 50;
const NAME_LENGTH = 8;
/** `sun_path` has 108 bytes on Linux and 104 elsewhere, with a final zero. */
const ADDRESS_LENGTH_MAX = 103;
