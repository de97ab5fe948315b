// Brings a fresh clone to a working state: dependencies installed, everything built.
// `npm run demo` and `npm test` call it first; alone it is `npm run setup`. Needs only Node and npm.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Cannot set up: Node is ${process.versions.node}, Damselfly needs 20.19 or newer`);
  process.exit(1);
}

const { packageManager } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const stampPath = join(root, "node_modules", ".setup-stamp");
const stamp = dependencyStamp();

if (!existsSync(stampPath) || readFileSync(stampPath, "utf8") !== stamp) {
  console.log(`setup: installing dependencies with ${packageManager} (once, about a minute)`);
  run("npx", ["--yes", packageManager, "install", "--frozen-lockfile", "--reporter=append-only"]);
  writeFileSync(stampPath, stamp);
}
console.log("setup: building");
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-b"]);
run(process.execPath, [join(root, "scripts", "bundle.mjs")]);
console.log("setup: ready");

/** Changes whenever an install could change anything: the lockfile, a manifest, the Node version. */
function dependencyStamp() {
  const hash = createHash("sha256").update(process.version);
  const manifests = readdirSync(join(root, "packages")).map((name) =>
    join("packages", name, "package.json"),
  );
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json", ...manifests]) {
    const path = join(root, file);
    if (existsSync(path)) hash.update(file).update(readFileSync(path));
  }
  return hash.digest("hex");
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}
