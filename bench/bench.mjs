// `npm run bench`: see support/options.mjs for what it takes, docs/benchmarks.md for what it says.
import { DID_NOT_FINISH } from "./support/did-not-finish.mjs";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killAllNow } from "../scripts/demo/child.mjs";
import { BACKENDS } from "./support/backends.mjs";
import { undoAtExit } from "./support/cleanup.mjs";
import { compare } from "./support/compare.mjs";
import { describeMachine, formatMachine } from "./support/machine.mjs";
import { removeStaleNamespaces } from "./support/namespaces.mjs";
import { HELP, MODES, parseOptions, selectNames } from "./support/options.mjs";
import { listPaths, PATH_IPS } from "./support/paths.mjs";
import { createProgress } from "./support/progress.mjs";
import { runTask } from "./support/run-task.mjs";
import { summarise } from "./support/summarise.mjs";
import { formatSvg } from "./support/svg.mjs";
import { formatResults } from "./support/tables.mjs";

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`The bench failed: ${error.stack}`);
  process.exitCode = 1;
}
// A child that was killed may leave a handle behind: what there was to say is said.
process.exit();

async function main(parameters) {
  const backendNames = BACKENDS.map(({ name }) => name);
  let options;
  try {
    options = parseOptions(parameters);
    options.wanted = selectNames(options.only, {
      paths: listPaths(options.link).map(({ name }) => name),
      backends: backendNames,
      modes: MODES,
    });
  } catch (error) {
    console.error(`${error.message}\nnpm run bench -- --help says what there is`);
    return 2;
  }
  if (options.isHelp) {
    console.log(HELP.replace("{BACKENDS}", backendNames.join(", ")).replace("{TMPDIR}", tmpdir()));
    return 0;
  }
  const directory = mkdtempSync(join(options.directory, "damselfly-bench-"));
  undoAtExit(() =>
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }),
  );
  undoAtExit(killAllNow);
  options.directory = directory;
  options.link.directory = directory;
  options.files = new Map();
  keepProxiesAway(PATH_IPS);
  removeStaleNamespaces();

  const command = ["npm run bench", ...(parameters.length > 0 ? ["--", ...parameters] : [])].join(
    " ",
  );
  const machine = describeMachine();
  console.log(`$ ${command}\n${formatMachine(machine)}`);
  const context = { command, machine };
  const progress = createProgress();
  if (options.task !== "compare") return await runTask(options, context, progress);
  return await runComparison(options, context, progress);
}

/** What goes over the bench's own networks goes there directly. */
function keepProxiesAway(ips) {
  process.env.no_proxy = [process.env.no_proxy ?? process.env.NO_PROXY, ...ips]
    .filter(Boolean)
    .join(",");
}

/** @returns the exit code: whether everything delivered the right bytes; how fast is for the reader to judge */
async function runComparison(options, context, progress) {
  const { samples, skipped } = await compare(options, progress);
  const results = summarise(samples);
  const titles = Object.fromEntries(
    listPaths(options.link).map(({ name, title }) => [name, title]),
  );
  for (const line of formatResults(results, titles)) console.log(line);
  for (const { name, why } of skipped) console.log(`\nNot measured: ${name}: ${why}`);
  if (options.json !== undefined) {
    const report = { ...context, options, titles, results, skipped, samples };
    writeFileSync(options.json, `${JSON.stringify(report, undefined, 1)}\n`);
  }
  if (options.svg !== undefined) {
    const udp = BACKENDS.filter(({ over }) => over === "udp").map(({ name }) => name);
    const isUdp = ({ backend }) => udp.includes(backend);
    const caption = formatMachine(context.machine);
    writeFileSync(options.svg, formatSvg(results, { titles, caption, isUdp }));
  }
  const failures = samples.filter(
    ({ failure }) => failure !== undefined && failure !== DID_NOT_FINISH,
  );
  return failures.length > 0 || samples.length === 0 ? 1 : 0;
}
