import { readdirSync, readFileSync, statSync } from "node:fs";
import { PROGRAMS } from "./programs.mjs";

/**
 * The module that a command's shim runs: of the bundle, unless something was compiled or installed after it was made; then, and where there is
 * no bundle, what `tsc -b` has made. So nobody who has just compiled runs what was there before.
 *
 * @param {keyof typeof PROGRAMS} program
 * @param {URL} [root] of the repository, with a slash at its end
 * @returns {URL}
 */
export function locateProgram(program, root = new URL("../../", import.meta.url)) {
  const compiled = new URL(PROGRAMS[program].main, root);
  const bundle = readBundle(root);
  if (bundle === undefined) return compiled;
  const main = new URL(`${bundle.name}/${program}/main.js`, bundlesOf(root));
  return timeOf(main) === undefined || lastChangeOf(root) > bundle.timeMs ? compiled : main;
}

/** Where all bundles are, each in a directory named after its content: a daemon that runs may still load parts of one that has been followed by another. */
export function bundlesOf(root) {
  return new URL("bundle/", root);
}

/** A text file with the name of the bundle that counts; last changed when its making began. */
export function markOf(root) {
  return new URL("current", bundlesOf(root));
}

function readBundle(root) {
  const mark = markOf(root);
  const timeMs = timeOf(mark);
  return timeMs === undefined ? undefined : { name: readFileSync(mark, "utf8").trim(), timeMs };
}

/** When a package was last compiled, or dependencies installed. */
function lastChangeOf(root) {
  const packages = new URL("packages/", root);
  const paths = readdirSync(packages).map((name) => new URL(`${name}/dist/.tsbuildinfo`, packages));
  paths.push(new URL("node_modules/.pnpm/lock.yaml", root));
  return Math.max(...paths.map((path) => timeOf(path) ?? 0));
}

function timeOf(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}
