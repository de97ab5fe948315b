import process from "node:process";
import { formatHelp } from "./config/flags.ts";
import { parseArguments, UsageError, type DaemonCommand } from "./config/parse-arguments.ts";
import { VERSION } from "./version.ts";

process.exitCode = await main();

/** What a command does not need is not loaded for it: asking for the version costs as much as an empty program. */
async function main(): Promise<number> {
  let command: DaemonCommand;
  try {
    command = await parseArguments(process.argv.slice(2), process.env);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`dfdaemon: ${error.message}\n`);
    return 2;
  }
  switch (command.kind) {
    case "help":
      process.stdout.write(formatHelp());
      return 0;
    case "version":
      process.stdout.write(`dfdaemon ${VERSION}\n`);
      return 0;
    case "certs": {
      const { runCertsCommand } = await import("./certs/certs-command.ts");
      return await runCertsCommand(command.argv, {
        stdout: process.stdout,
        stderr: process.stderr,
      });
    }
    case "cache": {
      const { runCacheCommand } = await import("./cache/cache-command.ts");
      const { stdout, stderr, env } = process;
      return await runCacheCommand(command.argv, { stdout, stderr, env });
    }
    case "run":
      break;
  }
  const { runCommand } = await import("./run-command.ts");
  return await runCommand(command.options);
}
