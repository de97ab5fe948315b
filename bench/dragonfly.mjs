// Damselfly's daemons against Dragonfly's own, side by side in one run: `node bench/dragonfly.mjs --help`. Linux, as root, with
// Dragonfly's executables in DAMSELFLY_INTEROP_BIN or PATH (docs/interop.md).
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { killAllNow } from "../scripts/demo/child.mjs";
import { judge } from "./dragonfly/judge.mjs";
import { formatReport } from "./dragonfly/report.mjs";
import { SCENARIOS } from "./dragonfly/scenarios.mjs";
import { findTheirPrograms } from "./dragonfly/their-processes.mjs";
import { undoAtExit } from "./support/cleanup.mjs";
import { describeMachine, formatMachine } from "./support/machine.mjs";
import { removeStaleNamespaces } from "./support/namespaces.mjs";

const HELP = `Usage: node bench/dragonfly.mjs [OPTIONS]

  --only NAMES     of ${SCENARIOS.map(({ name }) => name).join(", ")}
  --rounds N       of each, contenders taking turns (3)
  --scale X        of the files' lengths, to see that everything works (1)
  --json FILE      every figure; what the file has of other scenarios stays
  --md FILE        the same for people, with what --json has of other scenarios
  --dir DIR        where files are put while it runs (${tmpdir()})

${SCENARIOS.map(({ name, title }) => `${name}: ${title}`).join("\n")}
`;

const { values } = parseArgs({
  options: {
    only: { type: "string", default: SCENARIOS.map(({ name }) => name).join(",") },
    rounds: { type: "string", default: "3" },
    scale: { type: "string", default: "1" },
    json: { type: "string" },
    md: { type: "string" },
    dir: { type: "string", default: tmpdir() },
    help: { type: "boolean", default: false },
  },
});

try {
  process.exitCode = values.help ? (console.log(HELP), 0) : await main();
} catch (error) {
  console.error(`The bench failed: ${error.stack}`);
  process.exitCode = 1;
}
// A child that was killed may leave a handle behind: what there was to say is said.
process.exit();

/** @returns the exit code: whether every bar that was measured was met */
async function main() {
  const programs = findTheirPrograms();
  const root = mkdtempSync(join(values.dir, "dmf-bench-"));
  undoAtExit(() => rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
  undoAtExit(killAllNow);
  removeStaleNamespaces();
  const machine = describeMachine();
  const command = ["node bench/dragonfly.mjs", ...process.argv.slice(2)].join(" ");
  console.log(`$ ${command}\n${formatMachine(machine)}, Dragonfly ${programs.version}`);

  const results = [];
  for (const scenario of SCENARIOS.filter(({ name }) => values.only.split(",").includes(name))) {
    const { name, title } = scenario;
    console.log(`\n${title}`);
    const why = scenario.whyNot();
    if (why !== undefined) {
      console.log(`not measured: ${why}`);
      continue;
    }
    const directory = join(root, name);
    mkdirSync(directory);
    const length = Math.round(scenario.mib * Number(values.scale)) * 2 ** 20;
    const rounds = Number(values.rounds);
    const report = (sample) => console.log(`  ${JSON.stringify(sample)}`);
    const samples = await scenario.run({ directory, programs, length, rounds, report });
    const bars = judge(samples, scenario.bars);
    for (const { line } of bars) console.log(line);
    results.push({ name, title, command, machine, dragonfly: programs.version, samples, bars });
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
  const all = merge(results);
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify(all, undefined, 1)}\n`);
  if (values.md !== undefined) writeFileSync(values.md, formatReport(all));
  return results.some(({ bars }) => bars.some(({ isMet }) => !isMet)) ? 1 : 0;
}

/** With what the file has already: scenarios are measured one by one where a machine is shared. */
function merge(results) {
  const { json } = values;
  const known =
    json !== undefined && existsSync(json) ? JSON.parse(readFileSync(json, "utf8")) : [];
  return SCENARIOS.flatMap(({ name }) => {
    const isIt = (result) => result.name === name;
    return results.find(isIt) ?? known.find(isIt) ?? [];
  });
}
