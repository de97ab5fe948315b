import { standardOutput } from "./descriptor-stream.ts";
import { Interrupt } from "./errors.ts";
import { runDfget } from "./run-dfget.ts";

const controller = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // The second time, whoever asks does not want to wait for the cleaning up.
    if (controller.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
    controller.abort(new Interrupt(signal));
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
