import { spawn, type ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { execPath } from "node:process";
import { Duplex } from "node:stream";
import { DaemonError } from "../../../errors.ts";
import { START_FLAGS } from "../../../tune-collector.ts";
import type { Channel } from "../link/channel.ts";
import { openPipeChannel } from "../link/pipe-channel.ts";
import type { SocketNote } from "../protocol.ts";
import { CHANNEL_FD } from "../stdio.ts";
import { workerArguments } from "./end-left-workers.ts";

/** How a process came to its end, in words: `was ended by SIGABRT`. */
export interface ProcessEnd {
  readonly reason: string;
  readonly signal: string | null;
  readonly exitCode: number | null;
}

/** A process of the data plane as the control process sees it: messages, sockets, and its end. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  readonly channel: Channel;
  /** Resolves when the process is gone, and with it everything that it was doing. Never rejects. */
  readonly ended: Promise<ProcessEnd>;
  /** Hands over a connection of which nothing has been read. */
  handOver(note: SocketNote, socket: Socket): void;
  /** Connections that it has not taken yet; of one that has ended, those that it never will. */
  untaken(): readonly (readonly [SocketNote, Socket])[];
  /** Ends it at once, however it hangs. */
  kill(): void;
}

/**
 * @param path of `worker/main.js`
 * @param directory of the storage that it is for
 */
export function spawnWorker(path: string, directory: string): WorkerProcess {
  const child = spawn(execPath, [...START_FLAGS, path, ...workerArguments(directory)], {
    // What a native library says when it aborts is for whoever reads the daemon's standard error.
    stdio: ["ignore", "inherit", "inherit", "ipc", "pipe", "pipe"],
  });
  const pipe = child.stdio[CHANNEL_FD];
  if (!(pipe instanceof Duplex)) throw new TypeError("expected a pipe that goes both ways");
  const channel = openPipeChannel(pipe);
  const untaken = new Map<Socket, SocketNote>();
  return {
    pid: child.pid,
    channel,
    ended: endOf(child),
    handOver(note, socket) {
      untaken.set(socket, note);
      // One after the other: each waits until the one before has been acknowledged.
      if (child.connected) child.send(note, socket, {}, () => untaken.delete(socket));
    },
    untaken: () => [...untaken].map(([socket, note]) => [note, socket] as const),
    kill: () => void child.kill("SIGKILL"),
  };
}

function endOf(child: ChildProcess): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    child.once("error", (error) => {
      const reason = `could not be started: ${error.message}`;
      resolve({ reason, signal: null, exitCode: null });
    });
    child.once("exit", (exitCode, signal) => {
      const reason = signal === null ? `ended with code ${exitCode}` : `was ended by ${signal}`;
      resolve({ reason, signal, exitCode });
    });
  });
}

/** What calls to a process that is gone fail with. */
export function lostError(reason: string): DaemonError {
  return new DaemonError(
    "ERR_DATA_PLANE_LOST",
    `Cannot go on moving content: the data-plane process ${reason}`,
  );
}
