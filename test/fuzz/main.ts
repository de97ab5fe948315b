// `npm run fuzz`: runs the targets one after the other, each in processes of its own, and prints a table. docs/fuzzing.md says the rest.
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { addToCorpus } from "./engine/corpus.ts";
import { formatReplay, readInputs, writeFailure } from "./engine/failure-file.ts";
import { judgeMemory } from "./engine/judge-memory.ts";
import { memoryDirectory } from "./engine/memory-directory.ts";
import { formatReport, type ReportRow } from "./engine/report-table.ts";
import { type FuzzOrder, replay, runWorkers } from "./engine/run-worker.ts";
import type { FailureReport } from "./engine/worker-protocol.ts";
import { type FuzzOptions, HELP, parseOptions } from "./parse-options.ts";
import { countsOf, loadTarget } from "./targets.ts";

// This file is test/fuzz/dist/main.js.
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const temporaryDirectory = mkdtempSync(join(memoryDirectory(), "damselfly-fuzz-"));
process.on("exit", () => rmSync(temporaryDirectory, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => process.exit(130));
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof RangeError || error instanceof TypeError ? error.message : error);
  process.exitCode = 2;
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options.isHelp) {
    console.log(HELP);
    return 0;
  }
  const start = options.start ?? randomInt(2 ** 31);
  const out = options.out ?? join(ROOT, "failures");
  if (options.replay !== undefined) {
    return await runAgain(options.replay, orderFor(options.targets[0] ?? "", options, start));
  }
  console.log(`start value ${start}, Node ${process.version}`);
  const rows: ReportRow[] = [];
  for (const name of options.targets) rows.push(await fuzz(name, { options, start, out }));
  console.log(`\n${formatReport(rows)}`);
  const failureCount = rows.reduce((sum, { outcome }) => sum + outcome.failures.length, 0);
  console.log(failureCount === 0 ? "\nno failures" : `\n${failureCount} failures, see above`);
  return failureCount === 0 ? 0 : 1;
}

function orderFor(target: string, options: FuzzOptions, start: number): FuzzOrder {
  return {
    target,
    starts: [start],
    unitCountMax: options.count ?? countsOf(target)[options.size],
    secondsMax: options.seconds,
    isGuided: options.isGuided,
    corpusDirectory: join(ROOT, "corpus", target),
    temporaryDirectory,
    workerPath: join(ROOT, "dist", "worker.js"),
  };
}

async function fuzz(
  name: string,
  run: { readonly options: FuzzOptions; readonly start: number; readonly out: string },
): Promise<ReportRow> {
  const { options, start, out } = run;
  const { unit = "inputs", summary } = await loadTarget(name);
  console.log(`\n${name}: ${summary}`);
  const order = orderFor(name, options, start);
  const work: Promise<unknown>[] = [];
  const tell = async (failure: FailureReport): Promise<void> => {
    const path = relative(process.cwd(), await writeFailure(out, name, failure));
    console.log(
      `  FAILED ${failure.kind}: ${failure.message.split("\n").slice(0, 4).join("\n    ")}`,
    );
    console.log(`    ${formatReplay(name, path)}`);
  };
  const outcome = await runWorkers(order, {
    failed: (failure) => work.push(tell(failure)),
    kept: (input) => {
      if (options.isKeeping) work.push(addToCorpus(order.corpusDirectory, input));
    },
    progressed: ({ unitCount }) => {
      if (process.stderr.isTTY) process.stderr.write(`\r  ${unitCount} ${unit} `);
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  await Promise.all(work);
  const growth = judgeMemory(outcome.memory);
  if (growth === undefined) return { target: name, unit, outcome };
  console.log(`  FAILED memory: ${growth}`);
  const failure: FailureReport = { kind: "memory", message: growth, inputs: [] };
  return { target: name, unit, outcome: { ...outcome, failures: [...outcome.failures, failure] } };
}

async function runAgain(path: string, order: FuzzOrder): Promise<number> {
  const failures = await replay(await readInputs(path), order);
  for (const { kind, message } of failures) console.log(`FAILED ${kind}: ${message}`);
  if (failures.length === 0) console.log("no failure");
  return failures.length === 0 ? 0 : 1;
}
