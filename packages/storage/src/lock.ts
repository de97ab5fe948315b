import { randomBytes } from "node:crypto";
import { link, open, rename, type FileHandle } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { basename, dirname } from "node:path";

import { StorageError, systemCode, toStorageError } from "./errors.ts";
import { removeIfThere } from "./file-io.ts";

/**
 * Holds a directory for one storage, by listening on a unix socket in it.
 *
 * The kernel answers for the holder: it refuses connections the moment the holder is dead, however it died, and accepts them
 * while it lives, also when it hangs. A file with a process id can say neither across containers and reboots.
 * Connections are never used for anything.
 *
 * @throws {StorageError} `ERR_STORAGE_LOCKED` if somebody holds it
 */
export async function acquireLock(path: string): Promise<AsyncDisposable> {
  const directory = await openDirectory(path);
  const address = addressOf(path, directory);
  try {
    for (let attempt = 0; attempt < ATTEMPT_COUNT_MAX; attempt++) {
      const server = await listen(address);
      if (server !== undefined) return new Lock(server, directory);
      if (await answers(address)) break;
      await removeStale(path, address);
    }
    throw new StorageError(
      "ERR_STORAGE_LOCKED",
      `Cannot open storage ${dirname(path)}: another process has it open`,
    );
  } catch (error) {
    await directory.close();
    throw toStorageError(`lock storage ${dirname(path)}`, error);
  }
}

class Lock implements AsyncDisposable {
  readonly #server: Server;
  readonly #directory: FileHandle;
  #releasing: Promise<void> | undefined;

  constructor(server: Server, directory: FileHandle) {
    this.#server = server;
    this.#directory = directory;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    // Closing removes the socket's name, before it stops to answer.
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#directory.close();
  }
}

/** A socket's address has little room: a long path is shortened by way of the open directory (Linux). */
function addressOf(path: string, directory: FileHandle): string {
  if (Buffer.byteLength(path) <= ADDRESS_LENGTH_MAX) return path;
  return `/proc/self/fd/${directory.fd}/${basename(path)}`;
}

async function openDirectory(path: string): Promise<FileHandle> {
  try {
    return await open(dirname(path), "r");
  } catch (error) {
    throw toStorageError(`lock storage ${dirname(path)}`, error);
  }
}

/** Undefined: the name is taken. */
function listen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (error) => {
      if (systemCode(error) === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
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

/** Takes a dead holder's socket away. Between two that try this at once, neither removes what the other has just made. */
async function removeStale(path: string, address: string): Promise<void> {
  const suffix = `.stale-${randomBytes(4).toString("hex")}`;
  try {
    await rename(path, path + suffix);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return; // Somebody else was faster.
    throw error;
  }
  if (await answers(address + suffix)) await link(path + suffix, path); // It was a live one: give it back.
  await removeIfThere(path + suffix);
}

/** Each attempt but the last loses to somebody who starts at the same moment. */
const ATTEMPT_COUNT_MAX = 5;
/** `sun_path` has 108 bytes on Linux and 104 elsewhere, less the suffix of a stale one and a final zero. */
const ADDRESS_LENGTH_MAX = 86;
