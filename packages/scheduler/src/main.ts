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

process.exitCode = await runScheduler(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stderrIsTerminal: process.stderr.isTTY,
  env: process.env,
  signal: controller.signal,
  onReload: (look) => {
    reload = look;
  },
});
