// Puts the modules of each command into a few files, from what `tsc -b` has made: reading a thousand small ones is most of a start.
// Run by `npm run build`, `npm run setup` and `npm run check`, after `tsc -b`. The bundle stays on this machine, beside node_modules and the licences there.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { keepPlaces } from "./bundle/keep-places.mjs";
import { bundlesOf, markOf } from "./bundle/locate-program.mjs";
import { PROGRAMS } from "./bundle/programs.mjs";

/** Native code, and what finds it: loaded from where it is installed, if it is. */
const NATIVE = /^(@matrixai\/quic|koffi)(\/|$)/;
/** Bundles before the present one, which daemons may still be running from. */
const OLDER_MAX = 2;

const startedMs = Date.now();
const root = new URL("..", import.meta.url);
const bundles = fileURLToPath(bundlesOf(root));
const fresh = join(bundles, `.new-${process.pid}`);
try {
  const outputs = await Promise.all(Object.keys(PROGRAMS).map(bundleProgram));
  const name = nameOf(outputs.flat());
  keep(name);
  mark(name);
  removeOlder(name);
  console.log(`bundle: made ${join("bundle", name)} in ${Date.now() - startedMs} ms`);
} catch (error) {
  console.error(`Cannot bundle: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

/** Writes the files of a program into its directory below `fresh`, and answers what they are. */
async function bundleProgram(program) {
  const directory = join(fresh, program);
  mkdirSync(directory, { recursive: true });
  const input = Object.fromEntries(
    Object.entries(PROGRAMS[program]).map(([name, path]) => [name, absolute(path)]),
  );
  for (const path of Object.values(input))
    if (!existsSync(path)) throw new Error(`${path} is not there, expected what tsc -b makes`);
  const bundle = await rolldown({
    input,
    platform: "node",
    plugins: [
      keepPlaces({ directory, entries: entryPaths(), isExternal: (name) => NATIVE.test(name) }),
    ],
    onLog(level, log, handle) {
      if (level === "warn") throw new Error(log.message);
      handle(level, log);
    },
  });
  try {
    const { output } = await bundle.write({
      dir: directory,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "[name]-[hash].js",
      // So that stacks name files of ours and lines that can be read; names of functions and classes stay.
      minify: false,
      keepNames: true,
    });
    return output.map(({ fileName, code }) => [`${program}/${fileName}`, code]);
  } finally {
    await bundle.close();
  }
}

/** Where the modules that programs begin with will be, by where they are now. */
function entryPaths() {
  return new Map(
    Object.entries(PROGRAMS).flatMap(([program, modules]) =>
      Object.entries(modules).map(([name, path]) => [
        absolute(path),
        join(fresh, program, `${name}.js`),
      ]),
    ),
  );
}

/** The same for the same files. */
function nameOf(files) {
  const hash = createHash("sha256");
  for (const [path, code] of files.toSorted(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${path}\0${code}\0`);
  return hash.digest("hex").slice(0, 16);
}

/** Puts it in its place, unless the same is there: also when another process is about it at this moment. */
function keep(name) {
  const place = join(bundles, name);
  if (existsSync(place)) return;
  try {
    renameSync(fresh, place);
  } catch (error) {
    if (!existsSync(place)) throw error;
  }
}

/** From now on it is what commands run. What was compiled while it was being made is newer. */
function mark(name) {
  const written = join(fresh, "current");
  mkdirSync(fresh, { recursive: true });
  writeFileSync(written, `${name}\n`);
  utimesSync(written, startedMs / 1000, startedMs / 1000);
  renameSync(written, markOf(root));
}

function removeOlder(name) {
  const older = readdirSync(bundles, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== name && !entry.name.startsWith("."))
    .map((entry) => join(bundles, entry.name))
    .toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const path of older.slice(OLDER_MAX)) rmSync(path, { recursive: true, force: true });
}

function absolute(path) {
  return fileURLToPath(new URL(path, root));
}
