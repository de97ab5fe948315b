import { standardOutput } from "./descriptor-stream.ts";
import { Interrupt } from "./errors.ts";
import { runDfget } from "./run-dfget.ts";

const controller = new AbortController();
// SIGHUP too, which comes when the terminal goes. Nothing is lost for `nohup`: Node at its start has no signal ignored any more.
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    const interrupt = new Interrupt(signal);
    // The second time, whoever asks does not want to wait for the cleaning up. But of a terminal that goes both shell and kernel tell.
    if (controller.signal.aborted && signal !== "SIGHUP") process.exit(interrupt.exitCode);
    controller.abort(interrupt);
  });
}

const exitCode = await runDfget(process.argv.slice(2), {
  stdout: standardOutput(process.stdout),
  stderr: process.stderr,
  env: process.env,
  signal: controller.signal,
  uid: process.getuid?.(),
  pid: process.pid,
  platform: process.platform,
  cwd: process.cwd(),
});
// Not left to the event loop: a socket that lingers must not keep the shell waiting.
process.exit(exitCode);
