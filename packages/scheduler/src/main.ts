import { openStderr } from "@damselfly/settings";
import { runScheduler } from "./run-scheduler.ts";

const controller = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // The second time, whoever asks does not want to wait.
    if (controller.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
    controller.abort();
  });
}

let reload = (): void => {};
process.on("SIGHUP", () => {
  // Who closes the terminal that this runs in wants it to end.
  if (process.stderr.isTTY) controller.abort();
  else reload();
});

const stderr = openStderr();
// A ready line that finds no room is no reason to serve nobody.
process.stdout.on("error", (error: Error) => {
  stderr.write(`dfscheduler: cannot write to stdout: ${error.message}\n`);
});

process.exitCode = await runScheduler(process.argv.slice(2), {
  stdout: process.stdout,
  stderr,
  stderrIsTerminal: process.stderr.isTTY,
  env: process.env,
  signal: controller.signal,
  onReload: (look) => {
    reload = look;
  },
});
