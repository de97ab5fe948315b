import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useCluster } from "./support/daemon.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SHIMS = {
  dfdaemon: "packages/dfdaemon/bin/dfdaemon.js",
  dfget: "packages/dfget/bin/dfget.js",
  dfscheduler: "packages/scheduler/bin/dfscheduler.js",
} as const;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "damselfly-bundle-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe("the commands of this repository, built by npm run build", () => {
  const cluster = useCluster("test");

  it.each(["dfdaemon", "dfget", "dfscheduler"] as const)("run from the bundle: %s", (program) => {
    expect(existsSync(join(ROOT, "bundle", "current")), "a bundle, by npm run build").toBe(true);
    const modules = modulesOf(program);
    expect(modules).toContainEqual(
      expect.stringMatching(`/bundle/[0-9a-f]+/${program}/main\\.js$`),
    );
    expect(modules).not.toContainEqual(expect.stringMatching(/\/packages\/.*\/dist\/|\/\.pnpm\//));
  });

  it.runIf(process.platform === "linux")(
    "start the data plane from the bundle that they run from themselves",
    async () => {
      const { log } = await cluster.startDaemon();
      const worker = log.find(({ msg }) => /^data-plane process \d+ serves$/.test(msg));
      const words = readFileSync(`/proc/${String(worker?.["pid"])}/cmdline`, "utf8").split("\0");
      const name = readFileSync(join(ROOT, "bundle", "current"), "utf8").trim();
      expect(words.find((word) => word.endsWith(".js"))).toBe(
        join(ROOT, "bundle", name, "data-plane", "main.js"),
      );
    },
  );
});

/** URLs of the files that a command loads to say its version. */
function modulesOf(program: keyof typeof SHIMS): string[] {
  const run = spawnSync(process.execPath, [join(ROOT, SHIMS[program]), "--version"], {
    env: { NODE_V8_COVERAGE: directory },
    encoding: "utf8",
  });
  expect(run).toMatchObject({ status: 0, stdout: expect.stringContaining("0.1.0") });
  return readdirSync(directory).flatMap((name) => {
    const report: { readonly result: readonly { readonly url: string }[] } = JSON.parse(
      readFileSync(join(directory, name), "utf8"),
    );
    return report.result.map(({ url }) => url);
  });
}

describe.each(Object.entries(SHIMS))("%s", (program, shim) => {
  const compiled = join(dirname(dirname(shim)), "dist");

  /** The shim among stand-ins that say which they are. Everything was compiled at second 100, and the bundle was begun at second 200. */
  beforeEach(() => {
    for (const path of [shim, "scripts/bundle"])
      cpSync(join(ROOT, path), join(directory, path), { recursive: true });
    write(`${compiled}/main.js`, "console.log('compiled');");
    write(`${compiled}/.tsbuildinfo`, "", 100);
    write("packages/limits/dist/.tsbuildinfo", "", 100);
    write("node_modules/.pnpm/lock.yaml", "", 100);
    write(`bundle/0123/${program}/main.js`, "console.log('bundled');");
    write("bundle/current", "0123\n", 200);
    write("package.json", '{ "type": "module" }');
  });

  it("runs from a bundle that is newer than what was compiled", () => {
    expect(run()).toBe("bundled\n");
  });

  it.each([`${compiled}/.tsbuildinfo`, "packages/limits/dist/.tsbuildinfo"])(
    "passes over a bundle after something else was compiled: %s",
    (path) => {
      write(path, "", 201);
      expect(run()).toBe("compiled\n");
    },
  );

  it("passes over a bundle after other dependencies were installed", () => {
    write("node_modules/.pnpm/lock.yaml", "", 201);
    expect(run()).toBe("compiled\n");
  });

  it.each(["bundle", "bundle/current", "bundle/0123"])(
    "runs from what was compiled without a whole bundle: no %s",
    (path) => {
      rmSync(join(directory, path), { recursive: true });
      expect(run()).toBe("compiled\n");
    },
  );

  function run(): string {
    return spawnSync(process.execPath, [join(directory, shim)], { encoding: "utf8" }).stdout;
  }
});

describe("a module in a bundle", () => {
  it("finds what lies beside it, what is external, and what another program begins with", async () => {
    write("node_modules/native/package.json", '{ "name": "native", "exports": "./lib/find.js" }');
    write("node_modules/native/lib/find.js", "exports.place = __dirname;");
    write("node_modules/plain/index.js", "exports.place = __dirname;");
    write("src/worker.js", "");
    write(
      "src/main.js",
      `import { createRequire } from "node:module";
       import plain from "plain";
       export const beside = new URL("../data.txt", import.meta.url).href;
       export const worker = new URL(
         "./worker.js",
         import.meta.url,
       ).href;
       export const own = import.meta.url;
       export const required = createRequire(import.meta.url)("native").place;
       export const native = (await import("native")).place;
       export const missing = await import("native-too").catch(({ code }) => code);
       export const bundled = plain.place;`,
    );
    const { keepPlaces } = await import(
      new URL("../scripts/bundle/keep-places.mjs", import.meta.url).href
    );
    const output = join(directory, "out", "deep");
    const bundle = await rolldown({
      input: join(directory, "src", "main.js"),
      platform: "node",
      plugins: [
        keepPlaces({
          directory: output,
          entries: new Map([[join(directory, "src", "worker.js"), join(directory, "out", "w.js")]]),
          isExternal: (specifier: string) => specifier.startsWith("native"),
        }),
      ],
    });
    await bundle.write({ dir: output, entryFileNames: "main.mjs" });
    await bundle.close();
    const place = (path: string): string => join(directory, path);
    const { href: url } = new URL(`file://${directory}/`);
    const modules = join("node_modules", "native", "lib");
    expect({ ...(await import(join(output, "main.mjs"))) }).toEqual({
      beside: `${url}data.txt`,
      worker: `${url}out/w.js`,
      own: `${url}src/main.js`,
      required: place(modules),
      native: place(modules),
      missing: "ERR_MODULE_NOT_FOUND",
      bundled: expect.stringContaining("node_modules/plain"),
    });
  });
});

/** @param second since 1970 that it was last changed in; the present one unless given */
function write(path: string, text: string, second?: number): void {
  const whole = join(directory, path);
  mkdirSync(dirname(whole), { recursive: true });
  writeFileSync(whole, text);
  if (second !== undefined) utimesSync(whole, second, second);
}
