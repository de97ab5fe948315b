import { Socket } from "node:net";
import process from "node:process";
import { workerData } from "node:worker_threads";

/*
 * A thread of a data-plane process that ends it when the control process is gone. The main thread does so by itself, unless it hangs: then
 * it would hold its ports, and the next daemon's start, for ever.
 */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- set in main.ts
const { fd } = workerData as { readonly fd: number };
const lifeline = new Socket({ fd, readable: true, writable: false });
lifeline.on("error", () => {}); // "close" follows
lifeline.once("close", () => process.kill(process.pid, "SIGKILL"));
lifeline.resume();
