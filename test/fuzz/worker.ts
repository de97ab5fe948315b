// Runs one target in a process of its own, as `run-worker.ts` orders it: what goes wrong in here may take the process with it.
import { mkdtemp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { readCorpus } from "./engine/corpus.ts";
import { Coverage } from "./engine/coverage.ts";
import { FlightRecord } from "./engine/flight-record.ts";
import { FuzzLoop } from "./engine/fuzz-loop.ts";
import { decodeInputs } from "./engine/input-list.ts";
import type { WorkerOrder, WorkerReport } from "./engine/worker-protocol.ts";

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own process has written it
const order = JSON.parse(process.argv[2] ?? "") as WorkerOrder;
const report = (message: WorkerReport): void => void process.send?.(message);

// Before our code is loaded: what is loaded earlier is not counted.
const coverage = order.isGuided
  ? Coverage.open((url) => /\/packages\/[^/]+\/(dist|src)\/|\/node_modules\/yaml\//.test(url))
  : undefined;
const { loadTarget } = await import("./targets.ts");
const corpus = await readCorpus(order.corpusDirectory);
const record = FlightRecord.open(order.directory);
const loop = new FuzzLoop({
  target: await loadTarget(order.target),
  order,
  corpus: corpus.map(({ bytes }) => bytes),
  record,
  coverage,
  createDirectory: () => mkdtemp(join(order.directory, "target-")),
  report,
  giveUp,
});

/** Not before all has been told. */
function giveUp(): Promise<never> {
  setTimeout(() => process.exit(1), 200);
  return new Promise(() => {});
}

// Inputs may wait long; but a process whose event loop turns says so.
const heart = setInterval(() => loop.reportProgress(), 2_000);

for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    if (process.connected) loop.fail("uncaught", error);
    else console.error("after the end:", error);
    void giveUp();
  });
}
// Nobody is there any more to be told.
const leave = (): void => process.exit(1);
process.on("disconnect", leave);

if (order.replayPath === undefined) await loop.run();
else await loop.replay(decodeInputs(await readFile(order.replayPath)));
record.close();
coverage?.[Symbol.dispose]();
process.off("disconnect", leave);
clearInterval(heart);
// From here on nothing keeps the process alive: whatever does is a leak, and told by its not ending.
process.disconnect();
