import { spawn, type ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { execPath } from "node:process";
import { Duplex } from "node:stream";
import { DaemonError } from "../../../errors.ts";
import { toError } from "../../../to-error.ts";
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
  /** What kept it from being started; absent: it was. */
  readonly cause?: Error;
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
 * One that cannot be started, for want of descriptors or memory, is one that has ended: whoever uses it is told why.
 *
 * @param path of `worker/main.js`
 * @param directory of the storage that it is for
 */
export function spawnWorker(path: string, directory: string): WorkerProcess {
  let child: ChildProcess;
  try {
    child = spawn(execPath, [...START_FLAGS, path, ...workerArguments(directory)], {
      // What a native library says when it aborts is for whoever reads the daemon's standard error.
      stdio: ["ignore", "inherit", "inherit", "ipc", "pipe", "pipe"],
    });
  } catch (error) {
    return neverStarted(Promise.resolve(notStarted(toError(error))));
  }
  // Before anything else: an error that nobody listens for ends the daemon.
  const ended = endOf(child);
  // Undefined without descriptors, whatever its type says.
  const stdio: readonly unknown[] | undefined = child.stdio;
  const pipe = stdio?.[CHANNEL_FD];
  if (!(pipe instanceof Duplex)) return neverStarted(ended);
  const channel = openPipeChannel(pipe);
  const untaken = new Map<Socket, SocketNote>();
  return {
    pid: child.pid,
    channel,
    ended,
    handOver(note, socket) {
      untaken.set(socket, note);
      // One after the other: each waits until the one before has been acknowledged.
      if (child.connected) child.send(note, socket, {}, () => untaken.delete(socket));
    },
    untaken: () => [...untaken].map(([socket, note]) => [note, socket] as const),
    kill() {
      // Of one that was not started the number is 0: that of our own group.
      if (child.pid !== undefined) child.kill("SIGKILL");
    },
  };
}

/** The system had not even pipes for it. */
function neverStarted(ended: Promise<ProcessEnd>): WorkerProcess {
  return {
    pid: undefined,
    channel: {
      onMessage: undefined,
      closed: ended.then(() => undefined),
      send() {},
      close() {},
    },
    ended,
    // Nobody hands anything to a process that does not serve.
    handOver: (_, socket) => void socket.destroy(),
    untaken: () => [],
    kill() {},
  };
}

function endOf(child: ChildProcess): Promise<ProcessEnd> {
  return new Promise((resolve) => {
    child.on("error", (error) => {
      // Of one that runs it is a message or a signal that did not get through: its end tells more.
      if (child.pid === undefined) resolve(notStarted(error));
    });
    child.once("exit", (exitCode, signal) => {
      const reason = signal === null ? `ended with code ${exitCode}` : `was ended by ${signal}`;
      resolve({ reason, signal, exitCode });
    });
  });
}

function notStarted(cause: Error): ProcessEnd {
  return {
    reason: `could not be started: ${cause.message}`,
    signal: null,
    exitCode: null,
    cause,
  };
}

/** What calls to a process that is gone fail with. @param cause what kept it from being started */
export function lostError(reason: string, cause: Error | undefined): DaemonError {
  if (cause !== undefined) {
    const message = `Cannot start a data-plane process: ${cause.message}`;
    return new DaemonError("ERR_DATA_PLANE", message, { cause });
  }
  return new DaemonError(
    "ERR_DATA_PLANE_LOST",
    `Cannot go on moving content: the data-plane process ${reason}`,
  );
}
