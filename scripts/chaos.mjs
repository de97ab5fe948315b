// `npm run chaos`: a cluster of real processes that are killed, stopped, cut off and lied to while clients download, by a schedule that a start
// value makes. See docs/chaos.md.
import process from "node:process";
import { formatCommand, HELP, parseOptions } from "../bench/chaos/options.mjs";
import { runChaos } from "../bench/chaos/run-chaos.mjs";
import { makeSchedule } from "../bench/chaos/schedule/make-schedule.mjs";

process.exitCode = await main();
// A handle that is forgotten must not keep anybody waiting: whoever wrote it reads the report.
process.exit();

async function main() {
  let options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${error.message}\n\n${HELP}`);
    return 2;
  }
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  if (options.print) {
    console.log(JSON.stringify(makeSchedule(options), undefined, 2));
    return 0;
  }
  if (process.platform !== "linux") {
    console.error("Cannot run chaos: it looks after its processes in /proc, which Linux has");
    return 2;
  }
  try {
    return await runChaos(options, { print: (line) => console.log(line) });
  } catch (error) {
    console.error(`Cannot go on: ${error.stack}\nThe same again: ${formatCommand(options)}`);
    return 2;
  }
}
