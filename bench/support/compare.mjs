// The comparison itself: every path, every mode, every backend, in rounds.
import { BACKENDS } from "./backends.mjs";
import { fileBytesOf, LONG_FILE_PATH, fileLimitMs, openFileMode } from "./file-mode.mjs";
import { measureMemory, memorySizes } from "./memory-mode.mjs";
import { listPaths } from "./paths.mjs";

/**
 * @param options - see options.mjs; `wanted` has the names of `paths`, `backends` and `modes`
 * @param report - `line(text)` gets what a person who waits wants to read
 * @returns `samples`, one for each backend and round, and `skipped`: what was not measured, and why
 */
export async function compare(options, report) {
  const { wanted } = options;
  const skipped = [];
  const backends = await pick(BACKENDS, wanted.backends, skipped);
  const paths = await pick(listPaths(options.link), wanted.paths, skipped);
  for (const { name, why } of skipped) report.line(`skipped: ${name}: ${why}`);

  const modes = wanted.modes.filter((mode) => mode !== "file" || process.platform === "linux");
  if (modes.length < wanted.modes.length) skipped.push({ name: "file to file", why: "not Linux" });
  const parts = paths.flatMap((path) =>
    modes
      .map((mode) => ({ path, mode, entrants: listEntrants(path, mode, backends) }))
      .filter(({ entrants }) => entrants.length > 0),
  );
  const samples = [];
  const endAt = performance.now() + options.minutes * 60_000;
  for (const [index, part] of parts.entries()) {
    const shareMs =
      ((endAt - performance.now()) * weightOf(part)) / sum(parts.slice(index), weightOf);
    const measured = await measurePart(part, shareMs, options, report);
    samples.push(...measured.samples);
    skipped.push(...measured.skipped);
  }
  return { samples, skipped };
}

/** A GiB from file to file takes its time. */
function weightOf({ path, mode }) {
  return mode === "file" && path.name === LONG_FILE_PATH ? 3 : 1;
}

function sum(items, numberOf) {
  return items.reduce((total, item) => total + numberOf(item), 0);
}

/** Those that are wanted and can be had here. */
async function pick(candidates, names, skipped) {
  const picked = [];
  for (const candidate of candidates) {
    if (!names.includes(candidate.name)) continue;
    const why = await candidate.whyNot();
    if (why === undefined) picked.push(candidate);
    else skipped.push({ name: candidate.name, why });
  }
  return picked;
}

/** Whoever takes a turn: a backend, and the congestion control of TCP under it where that is varied. */
function listEntrants(path, mode, backends) {
  return backends
    .filter((backend) => isOfMode(backend, mode))
    .flatMap((backend) => {
      const variants = backend.over === "tcp" ? path.tcpVariants : [undefined];
      return variants.map((tcp) => ({ backend, tcp }));
    });
}

function isOfMode(backend, mode) {
  return mode === "file" || backend.serve !== undefined;
}

/** All rounds of a path and mode that fit into its share of the time; the first one in any case. */
async function measurePart({ path, mode, entrants }, shareMs, options, report) {
  report.line(`${path.title}, ${mode} to ${mode}`);
  const endAt = performance.now() + shareMs;
  const samples = [];
  const open = await path.open();
  const measure = await MEASURES[mode](path, open, options);
  const whyNots = new Map();
  let round = 0;
  let roundMs = 0;
  try {
    while (round < options.rounds && (round === 0 || performance.now() + roundMs < endAt)) {
      const startedAt = performance.now();
      for (const { backend, tcp } of entrants) {
        if (tcp !== undefined) open.setTcp(tcp);
        const where = { path: path.name, mode, backend: backend.name };
        for (const measured of await measure.sample(backend, tcp)) {
          if (measured.whyNot !== undefined) {
            whyNots.set(`${backend.name}, ${path.name}, ${mode}`, measured.whyNot);
            continue;
          }
          const isOver = tcp !== undefined && measured.backend === undefined;
          const sample = { ...where, ...(isOver ? { tcp } : {}), round, ...measured };
          samples.push(sample);
          report.sample(sample);
        }
      }
      roundMs = performance.now() - startedAt;
      round += 1;
    }
  } finally {
    await measure.close();
    for (const line of await open.close()) report.line(line);
  }
  if (round < options.rounds) {
    whyNots.set(`${path.name}, ${mode}`, `${round} of ${options.rounds} rounds: out of time`);
  }
  return { samples, skipped: [...whyNots].map(([name, why]) => ({ name, why })) };
}

/** How a mode is measured on an open path: `sample(backend, tcp)` resolves with samples, as often as wanted, then `close()`. */
const MEASURES = {
  async memory(path, open, options) {
    const sizes = memorySizes({ ...options, isClean: path.isClean });
    return {
      sample: async (backend) => [await measureMemory(open, backend, sizes)],
      close: async () => {},
    };
  },
  file(path, open, options) {
    const { directory, files } = options;
    const length = fileBytesOf(options, path.name);
    return openFileMode(open, { length, limitMs: fileLimitMs(options, path), directory, files });
  },
};
