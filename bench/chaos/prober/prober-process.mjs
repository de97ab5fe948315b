// Asks every node for its health, again and again, as a process of its own: the harness has other things to do.
//
//   node prober-process.mjs NAME=IP:PORT...
//
// Sends `{ trouble: { name, fromMs, untilMs, reason } }` for each answer that was late or none, and `{ answers: { NAME: milliseconds[] } }` when told
// anything. Times are those of `Date.now()`.
import { get } from "node:http";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";

const EVERY_MS = 250;
const LATE_MS = 500;
const ANSWER_MS_MAX = 15_000;

const answers = {};
process.on("message", () => process.send({ answers }));
process.on("disconnect", () => process.exit());
for (const target of process.argv.slice(2)) {
  const [name, address] = target.split("=");
  answers[name] = [];
  void watch(name, `http://${address}/healthy`);
}
process.send({ ready: true });

async function watch(name, url) {
  for (;;) {
    const fromMs = Date.now();
    const startedMs = performance.now();
    const reason = await ask(url);
    const tookMs = performance.now() - startedMs;
    if (reason === undefined) answers[name].push(tookMs);
    if (reason !== undefined || tookMs > LATE_MS) {
      const why = reason ?? `it took ${Math.round(tookMs)} ms`;
      process.send({ trouble: { name, fromMs, untilMs: Date.now(), tookMs, reason: why } });
    }
    await pause(EVERY_MS);
  }
}

/** Undefined: it is well. */
function ask(url) {
  return new Promise((resolve) => {
    const request = get(url, { timeout: ANSWER_MS_MAX, agent: false }, (response) => {
      response.resume();
      response.on("error", (error) => resolve(error.message));
      response.on("end", () =>
        resolve(response.statusCode === 200 ? undefined : `status ${response.statusCode}`),
      );
    });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${ANSWER_MS_MAX} ms`)));
    request.on("error", (error) => resolve(error.message));
  });
}
