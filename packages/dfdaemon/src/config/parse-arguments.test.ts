import { settingPaths } from "@damselfly/settings";
import { describe, expect, it } from "vitest";
import { configSchema } from "./config-schema.ts";
import { FLAGS, formatHelp } from "./flags.ts";
import { loadConfig } from "./load-config.ts";
import { parseArguments, UsageError, type RunOptions } from "./parse-arguments.ts";

async function options(
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<RunOptions> {
  const command = await parseArguments(argv, env);
  if (command.kind !== "run") throw new Error(`got ${command.kind}`);
  return command.options;
}

describe("parseArguments", () => {
  it("runs with Dragonfly's file, unless told otherwise", async () => {
    expect(await options([])).toEqual({
      configPath: "/etc/dragonfly/dfdaemon.yaml",
      configPathGiven: false,
      flags: [],
      logLevel: "info",
      logDir: undefined,
      logMaxFiles: undefined,
      logMaxFileSize: undefined,
      console: false,
    });
    expect(await options(["-c", "/x"], { DFDAEMON_CONFIG: "/y" })).toMatchObject({
      configPath: "/x",
      configPathGiven: true,
    });
    expect(await options([], { DFDAEMON_CONFIG: "/y" })).toMatchObject({
      configPath: "/y",
      configPathGiven: true,
    });
  });

  it("takes the log's flags, from the environment too", async () => {
    expect(await options(["-l", "debug", "--log-dir", "/log", "--console"])).toMatchObject({
      logLevel: "debug",
      logDir: "/log",
      console: true,
    });
    expect(
      await options([], {
        DFDAEMON_LOG_LEVEL: "WARN",
        DFDAEMON_LOG_DIR: "/l",
        DFDAEMON_CONSOLE: "true",
      }),
    ).toMatchObject({ logLevel: "warn", logDir: "/l", console: true });
  });

  it("takes Dragonfly's flags of a rotated log and of dynconfig, its numbers for levels too", async () => {
    const { flags, ...log } = await options([
      "--log-max-files=3",
      "--log-max-file-size",
      "10MiB",
      "--dynconfig",
      "/d.yaml",
      "-l",
      "1",
    ]);
    expect(log).toMatchObject({ logMaxFiles: 3, logMaxFileSize: 10 * 2 ** 20, logLevel: "error" });
    const { config } = await loadConfig({ path: "/no/such/file", flags });
    expect(config.dynconfig.path).toBe("/d.yaml");

    const env = {
      DFDAEMON_LOG_MAX_FILES: "2",
      DFDAEMON_LOG_MAX_FILE_SIZE: "1GB",
      DFDAEMON_DYNCONFIG: "/env.yaml",
    };
    const fromEnv = await options([], env);
    expect(fromEnv).toMatchObject({ logMaxFiles: 2, logMaxFileSize: 1e9 });
    const loaded = await loadConfig({ path: "/no/such/file", env, flags: fromEnv.flags });
    expect(loaded).toMatchObject({ warnings: [], config: { dynconfig: { path: "/env.yaml" } } });
    const both = await options(["--dynconfig", "/flag.yaml"], env);
    const { config: won } = await loadConfig({ path: "/no/such/file", flags: both.flags });
    expect(won.dynconfig.path).toBe("/flag.yaml");
  });

  it("turns flags into settings that win", async () => {
    const { flags } = await options([
      "--storage-dir=/data",
      "--socket=/run/x.sock",
      "--protocol=grpc",
      "--seed",
      "--scheduler=10.0.0.1:8002",
      "--scheduler",
      "10.0.0.2:8002",
      "--set=storage.server.grpc_port=0",
      "--set",
      "backend.requestHeader={X-A: b=c}",
    ]);
    const { config } = await loadConfig({ path: "/no/such/file", flags });
    expect(config).toMatchObject({
      storage: { dir: "/data", server: { protocol: "grpc", grpcPort: 0 } },
      download: { server: { socketPath: "/run/x.sock" } },
      seedPeer: { enable: true },
      scheduler: { addrs: ["10.0.0.1:8002", "10.0.0.2:8002"] },
      backend: { requestHeader: { "X-A": "b=c" } },
    });
  });

  it("names the flag of a value that does not fit, and the nearest setting", async () => {
    const { flags } = await options(["--protocol", "quik", "--set", "storage.servr.grpcPort=1"]);
    const problem = await loadConfig({ path: "/no/such/file", flags }).catch((e: unknown) =>
      String(e),
    );
    expect(problem).toContain("got 'quik' (flag --protocol)");
    expect(problem).toContain(
      "storage.servr.grpcPort is no known setting, the nearest one is storage.server.grpcPort",
    );
  });

  it("shows help and version whatever else is asked", async () => {
    expect(await parseArguments(["--seed", "-h"], {})).toEqual({ kind: "help" });
    expect(await parseArguments(["-V"], {})).toEqual({ kind: "version" });
  });

  it("leaves what follows certs to certs", async () => {
    expect(await parseArguments(["certs", "init", "--dir", "x"], {})).toEqual({
      kind: "certs",
      argv: ["init", "--dir", "x"],
    });
  });

  it.each([
    [["--confg", "x"], "did you mean --config?"],
    [["--nonsense"], "see dfdaemon --help"],
    [["-x"], "there is no such flag"],
    [["--config"], "its value is missing, expected FILE"],
    [["--config="], "its value is missing"],
    [["--seed=no"], "it takes no value"],
    [["stray"], "Cannot use 'stray'"],
    [["--set", "a"], "expected KEY=VALUE"],
    [["-l", "loud"], "expected one of trace, debug"],
    [["-l", "6"], "expected one of trace, debug"],
    [["--log-max-files", "0"], "it is '0', expected a count of files, at least 1"],
    [["--log-max-files", "many"], "expected a count of files"],
    [["--log-max-file-size", "1 ton"], "expected a size such as 64MiB or 1GiB"],
  ])("refuses %j", async (argv, message) => {
    const refused = parseArguments(argv, {});
    await expect(refused).rejects.toBeInstanceOf(UsageError);
    await expect(refused).rejects.toThrow(message);
  });
});

describe("formatHelp", () => {
  it("has every flag, and no other", () => {
    const shown = [...formatHelp().matchAll(/^ +(?:-\w, )?--([\w-]+)/gm)].map(([, name]) => name);
    expect(shown).toEqual(FLAGS.map(({ name }) => name));
  });

  it("names only settings that exist", () => {
    const paths = settingPaths(configSchema);
    const named = [...formatHelp().matchAll(/\b[a-z]+(?:\.[a-zA-Z]+)+\b/g)].map(([name]) => name);
    const settings = named.filter((name) => !/\.(yaml|log)$/.test(name));
    expect(settings.length).toBeGreaterThan(5);
    for (const name of settings) expect(paths).toContain(name);
    for (const { setting } of FLAGS) if (setting !== undefined) expect(paths).toContain(setting);
  });

  it("fits a terminal of 100 columns", () => {
    for (const line of formatHelp().split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });
});
