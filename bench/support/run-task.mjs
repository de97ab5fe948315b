// What the bench can do besides comparing: see options.mjs.
import { writeFileSync } from "node:fs";
import { BACKENDS } from "./backends.mjs";
import { formatCold, measureCold } from "./cold.mjs";
import { endureFiles, endureMemory, formatEndurance } from "./endurance.mjs";
import { formatFootprint, measureFootprint } from "./footprint.mjs";
import { formatGrid, measureGrid } from "./grid.mjs";
import { formatIdle, measureIdle } from "./idle.mjs";
import { badLink, listPaths } from "./paths.mjs";
import { formatSoak, soak } from "./soak.mjs";
import { formatStart, measureStart } from "./start.mjs";

/** Where nothing else is asked for. */
const USUAL = { path: "loopback", backend: "quic-auto" };

/**
 * Does what `options.task` says, prints what came of it, and writes it to `options.json`.
 *
 * @param context - what the file begins with: command and machine
 * @returns the exit code
 */
export async function runTask(options, context, report) {
  const outcomes = await TASKS[options.task](options, report);
  for (const { lines } of outcomes) for (const line of lines) console.log(line);
  const results = outcomes.map(({ result }) => result);
  if (options.json !== undefined) {
    const text = JSON.stringify({ ...context, options, results }, undefined, 1);
    writeFileSync(options.json, `${text}\n`);
  }
  return outcomes.some(({ isBad }) => isBad) ? 1 : 0;
}

const TASKS = {
  async cold(options, report) {
    const result = await measureCold(options, report);
    return [{ lines: formatCold(result), result }];
  },
  async start(options, report) {
    const result = await measureStart(options, report);
    return [{ lines: formatStart(result), result }];
  },
  async footprint(options, report) {
    const result = await measureFootprint(options, report);
    return [{ lines: formatFootprint(result), result }];
  },
  async grid(options, report) {
    const why = badLink("grid", options.link).whyNot();
    if (why !== undefined) return [{ lines: [`Not measured: grid: ${why}`], result: { why } }];
    const cells = await measureGrid(options, report);
    return [{ lines: formatGrid(cells), result: cells }];
  },
  memory(options, report) {
    return forEachBackend(options, async (path, open, backend) => {
      const results = [];
      const { modes } = options.wanted;
      if (modes.includes("memory"))
        results.push(await endureMemory(open, backend, options, report));
      if (modes.includes("file") && process.platform === "linux")
        results.push(await endureFiles(path, open, backend, options, report));
      return { lines: results.flatMap(formatEndurance), result: results };
    });
  },
  idle(options, report) {
    return forEachBackend(options, async (_, open, backend) => {
      const result = await measureIdle(open, backend, options, report);
      return { lines: formatIdle(result), result };
    });
  },
  soak(options, report) {
    return forEachBackend(options, async (_, open, backend) => {
      const settings = { minutes: options.soakMinutes, isQuick: options.isQuick };
      const result = await soak(open, backend, settings, report);
      return { lines: formatSoak(result), result, isBad: result.problems.length > 0 };
    });
  },
};

/** One after the other: the backends that `--only` names, else QUIC, over the path that it names, else loopback. */
async function forEachBackend({ only, link }, run) {
  const path =
    listPaths(link).find(({ name }) => only.includes(name)) ??
    listPaths(link).find(({ name }) => name === USUAL.path);
  const named = BACKENDS.filter(({ name }) => only.includes(name));
  const backends = named.length > 0 ? named : BACKENDS.filter(({ name }) => name === USUAL.backend);
  const outcomes = [];
  for (const backend of backends) {
    const why = path.whyNot() ?? (await backend.whyNot());
    if (why !== undefined || backend.serve === undefined) {
      const lines = [`Not measured: ${backend.name}, ${path.name}: ${why ?? "it is no transport"}`];
      outcomes.push({ lines, result: { backend: backend.name, why } });
      continue;
    }
    const open = await path.open();
    try {
      outcomes.push(await run(path, open, backend));
    } finally {
      await open.close();
    }
  }
  return outcomes;
}
