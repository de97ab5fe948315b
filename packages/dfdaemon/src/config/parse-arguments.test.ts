import { settingPaths } from "@damselfly/settings";
import { describe, expect, it } from "vitest";
import { configSchema } from "./config-schema.ts";
import { FLAGS, formatHelp } from "./flags.ts";
import { loadConfig } from "./load-config.ts";
import { parseArguments, UsageError, type RunOptions } from "./parse-arguments.ts";

function options(argv: readonly string[], env: Record<string, string> = {}): RunOptions {
  const command = parseArguments(argv, env);
  if (command.kind !== "run") throw new Error(`got ${command.kind}`);
  return command.options;
}

describe("parseArguments", () => {
  it("runs with Dragonfly's file, unless told otherwise", () => {
    expect(options([])).toEqual({
      configPath: "/etc/dragonfly/dfdaemon.yaml",
      configPathGiven: false,
      flags: [],
      logLevel: "info",
      logDir: undefined,
      console: false,
    });
    expect(options(["-c", "/x"], { DFDAEMON_CONFIG: "/y" })).toMatchObject({
      configPath: "/x",
      configPathGiven: true,
    });
    expect(options([], { DFDAEMON_CONFIG: "/y" })).toMatchObject({
      configPath: "/y",
      configPathGiven: true,
    });
  });

  it("takes the log's flags, from the environment too", () => {
    expect(options(["-l", "debug", "--log-dir", "/log", "--console"])).toMatchObject({
      logLevel: "debug",
      logDir: "/log",
      console: true,
    });
    expect(
      options([], { DFDAEMON_LOG_LEVEL: "WARN", DFDAEMON_LOG_DIR: "/l", DFDAEMON_CONSOLE: "true" }),
    ).toMatchObject({ logLevel: "warn", logDir: "/l", console: true });
  });

  it("turns flags into settings that win", async () => {
    const { flags } = options([
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
    const { flags } = options(["--protocol", "quik", "--set", "storage.servr.grpcPort=1"]);
    const problem = await loadConfig({ path: "/no/such/file", flags }).catch((e: unknown) =>
      String(e),
    );
    expect(problem).toContain("got 'quik' (flag --protocol)");
    expect(problem).toContain(
      "storage.servr.grpcPort is no known setting, the nearest one is storage.server.grpcPort",
    );
  });

  it("shows help and version whatever else is asked", () => {
    expect(parseArguments(["--seed", "-h"], {})).toEqual({ kind: "help" });
    expect(parseArguments(["-V"], {})).toEqual({ kind: "version" });
  });

  it("leaves what follows certs to certs", () => {
    expect(parseArguments(["certs", "init", "--dir", "x"], {})).toEqual({
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
  ])("refuses %j", (argv, message) => {
    expect(() => parseArguments(argv, {})).toThrow(UsageError);
    expect(() => parseArguments(argv, {})).toThrow(message);
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
    const settings = named.filter((name) => !name.endsWith(".yaml"));
    expect(settings.length).toBeGreaterThan(5);
    for (const name of settings) expect(paths).toContain(name);
    for (const { setting } of FLAGS) if (setting !== undefined) expect(paths).toContain(setting);
  });

  it("fits a terminal of 100 columns", () => {
    for (const line of formatHelp().split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });
});
