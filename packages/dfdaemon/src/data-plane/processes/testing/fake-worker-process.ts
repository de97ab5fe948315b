import type { Socket } from "node:net";
import type { ProcessEnd, WorkerProcess } from "../control/worker-process.ts";
import type { SocketNote } from "../protocol.ts";
import { runWorker } from "../worker/run-worker.ts";
import { createMemoryChannels } from "./memory-channel.ts";

/** A data-plane process that is none: it runs in the process of the test, and dies on command. */
export interface FakeWorkerProcess extends WorkerProcess {
  /** Nothing goes out of it any more, and nothing comes in, as when its event loop hangs. */
  hang(): void;
  /** It ends, as if by a signal. */
  die(signal: string): void;
}

export function createFakeWorkerProcess(): FakeWorkerProcess {
  const [control, own] = createMemoryChannels();
  let onSocket: (note: SocketNote, socket: Socket) => void = () => {};
  let onEnd: (end: ProcessEnd) => void = () => {};
  const sockets = new Set<Socket>();
  let isHanging = false;
  const worker = runWorker({
    channel: {
      get onMessage() {
        return own.onMessage;
      },
      set onMessage(listener) {
        own.onMessage = listener && ((message) => void (isHanging || listener(message)));
      },
      closed: own.closed,
      send: (message) => void (isHanging || own.send(message)),
      close: () => own.close(),
    },
    onSocket: (listener) => {
      onSocket = listener;
    },
  });
  const ended = new Promise<ProcessEnd>((resolve) => {
    onEnd = resolve;
  });
  let isDying = false;
  const die = (signal: string | null): void => {
    if (isDying) return;
    isDying = true;
    // Who is killed has no last words.
    isHanging ||= signal !== null;
    for (const socket of sockets) socket.destroy();
    void worker[Symbol.asyncDispose]().then(() => {
      const reason = signal === null ? "ended with code 0" : `was ended by ${signal}`;
      onEnd({ reason, signal, exitCode: signal === null ? 0 : null });
      own.close();
    });
  };
  void own.closed.then(() => die(null));
  return {
    pid: undefined,
    channel: control,
    ended,
    handOver: (note, socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      onSocket(note, socket);
      socket.resume();
    },
    untaken: () => [],
    kill: () => die("SIGKILL"),
    hang: () => {
      isHanging = true;
    },
    die,
  };
}
