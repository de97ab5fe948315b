import { Socket } from "node:net";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { keepCode } from "../../../keep-code.ts";
import { QuietCollector } from "../../../quiet-collector.ts";
import { tuneCollector } from "../../../tune-collector.ts";
import { openPipeChannel } from "../link/pipe-channel.ts";
import type { SocketNote } from "../protocol.ts";
import { CHANNEL_FD, LIFELINE_FD } from "../stdio.ts";
import { runWorker } from "./run-worker.ts";

/*
 * A data-plane process, started by the daemon: see `WorkerProcess`. Its arguments are for `endLeftWorkers`. Signals that end the daemon come to the whole group or unit; this
 * process ends when the daemon says so, so that pieces which are being served may finish.
 */
for (const signal of ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const)
  process.on(signal, () => {});
tuneCollector();
keepCode();
using _ = new QuietCollector();
new Worker(new URL("./orphan-watch.js", import.meta.url), {
  workerData: { fd: LIFELINE_FD },
  resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 },
}).unref();

const channel = openPipeChannel(new Socket({ fd: CHANNEL_FD, readable: true, writable: true }));
runWorker({
  channel,
  onSocket: (listener) => {
    process.on("message", (note: SocketNote, socket: Socket | undefined) => {
      // It has gone by now, or could not be taken over.
      if (socket !== undefined) listener(note, socket);
    });
  },
});
await channel.closed;
process.exit(0);
