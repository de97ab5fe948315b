import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as z from "zod";
import { duration } from "./duration.ts";
import { SettingsError } from "./errors.ts";
import { settingPaths } from "./known-settings.ts";
import { loadSettings, type LoadedSettings, type LoadSettingsOptions } from "./load-settings.ts";
import { formatVariable } from "./read-environment.ts";
import { formatSource } from "./setting-source.ts";
import { size } from "./size.ts";

const schema = z.object({
  server: z
    .object({
      port: z.int().max(65_535).default(80),
      caCert: z.string().default(""),
      quicPort: z.int().optional(),
      quic: z.object({ port: z.int().optional() }).prefault({}),
      timeout: duration().default(1000),
    })
    .prefault({})
    .transform((server) => ({ ...server, extra: true })),
  limit: size().default(5),
  embedded: z.union([z.boolean(), z.literal("auto")]).default("auto"),
  names: z.array(z.string()).default([]),
  header: z.record(z.string(), z.string()).default({}),
  mode: z.enum(["fast", "safe"]).nullable().default(null).readonly(),
  title: z.string().min(2).max(20).optional(),
  password: z.int().optional(),
  rules: z
    .array(z.strictObject({ match: z.string().regex(/^a/, "text that starts with a") }))
    .default([]),
});
type Settings = z.infer<typeof schema>;

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "settings-"));
  path = join(dir, "app.yaml");
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function load(
  yaml: string,
  options: Partial<LoadSettingsOptions<Settings>> = {},
): Promise<LoadedSettings<Settings>> {
  await writeFile(path, yaml);
  return await loadSettings({ schema, path, envPrefix: "APP", ...options });
}

async function problemOf(
  yaml: string,
  options: Partial<LoadSettingsOptions<Settings>> = {},
): Promise<SettingsError> {
  const error: unknown = await load(yaml, options).catch((caught: unknown) => caught);
  if (!(error instanceof SettingsError)) throw new Error("no SettingsError", { cause: error });
  return error;
}

describe("loadSettings", () => {
  it("fills in defaults where nothing is given", async () => {
    const { settings, warnings, sources } = await loadSettings({ schema, envPrefix: "APP" });
    expect(settings).toMatchObject({ server: { port: 80, extra: true }, limit: 5, mode: null });
    expect(warnings).toEqual([]);
    expect(sources.size).toBe(0);
  });

  it("takes an empty file, empty sections and keys without a value for nothing given", async () => {
    for (const yaml of ["", "# only a comment\n", "server:\nlimit:\n", "server: { port: ~ }\n"])
      expect((await load(yaml)).settings).toEqual(
        (await loadSettings({ schema, envPrefix: "X" })).settings,
      );
  });

  it("takes a file that is not there for an empty one, unless it is required", async () => {
    const missing = join(dir, "missing.yaml");
    const { settings } = await loadSettings({ schema, path: missing, envPrefix: "APP" });
    expect(settings.limit).toBe(5);
    expect(await problemOf("", { path: missing, required: true })).toMatchObject({
      code: "ERR_SETTINGS_FILE",
      message: `Cannot read settings from ${missing}: there is no such file`,
    });
    expect(await problemOf("", { path: dir })).toMatchObject({ code: "ERR_SETTINGS_FILE" });
  });

  it("takes flags over the environment over the file, and remembers which", async () => {
    const { settings, sources } = await load("limit: 1\nserver:\n  port: 1\n  timeout: 1m\n", {
      env: { APP_SERVER_PORT: "2", APP_SERVER_TIMEOUT: "2m" },
      flags: [{ flag: "--port", path: "server.port", value: "3" }],
    });
    expect(settings).toMatchObject({ limit: 1, server: { port: 3, timeout: 120_000 } });
    expect(Object.fromEntries([...sources].map(([key, one]) => [key, formatSource(one)]))).toEqual({
      limit: `${path}:1`,
      "server.port": "flag --port",
      "server.timeout": "environment variable APP_SERVER_TIMEOUT",
    });
  });

  it("takes snake_case too, once", async () => {
    const { settings } = await load("server: { ca_cert: x, quic_port: 5 }");
    expect(settings.server).toMatchObject({ caCert: "x", quicPort: 5 });
    expect((await load("server: { ca_cert: x, caCert: x }")).settings.server.caCert).toBe("x");
    const problem = await problemOf("server:\n  ca_cert: x\n  caCert: y\n");
    expect(problem.message).toContain(
      `server.caCert is given twice and differs (${path}:2 and ${path}:3)`,
    );
  });

  it("follows anchors and aliases", async () => {
    const { settings } = await load(
      "server: &s { port: 7 }\nnames: &n [a, b]\nheader: { x: &v y, z: *v }\n",
    );
    expect(settings).toMatchObject({ server: { port: 7 }, names: ["a", "b"], header: { z: "y" } });
    const aliased = z.object({
      one: z.object({ a: z.int().default(0) }).prefault({}),
      two: z.object({ a: z.int().default(0) }).prefault({}),
    });
    await writeFile(path, "one: &one { a: 1 }\ntwo: *one\n");
    const loaded = await loadSettings({ schema: aliased, path, envPrefix: "APP" });
    expect(loaded.settings).toEqual({ one: { a: 1 }, two: { a: 1 } });
  });

  it("passes over what Kubernetes makes of a Service that is called as the program", async () => {
    const service = (name: string) => ({
      [`${name}_SERVICE_HOST`]: "10.0.0.1",
      [`${name}_SERVICE_PORT`]: "8002",
      [`${name}_SERVICE_PORT_HTTP_2`]: "8002",
      [`${name}_PORT`]: "tcp://10.0.0.1:8002",
      [`${name}_PORT_8002_TCP`]: "tcp://10.0.0.1:8002",
      [`${name}_PORT_8002_TCP_PROTO`]: "tcp",
      [`${name}_PORT_8002_TCP_PORT`]: "8002",
      [`${name}_PORT_8002_TCP_ADDR`]: "10.0.0.1",
    });
    const { warnings, sources } = await load("", {
      env: { ...service("APP"), ...service("APP_SEED") },
    });
    expect(warnings).toEqual([]);
    expect(sources.size).toBe(0);
    // What is set by hand is looked at as ever.
    expect(await problemOf("", { env: { APP_SERVR_PORT: "8002" } })).toMatchObject({
      message: expect.stringContaining("the nearest one is server.port"),
    });
    const named = z.object({ service: z.object({ port: z.int().default(1) }).prefault({}) });
    const loaded = await loadSettings({
      schema: named,
      envPrefix: "APP",
      env: { APP_SERVICE_PORT: "2" },
    });
    expect(loaded.settings.service.port).toBe(2);
  });

  it("reads texts from the environment as what the setting takes", async () => {
    const { settings } = await load("", {
      env: {
        APP_EMBEDDED: "true",
        APP_NAMES: "a, b",
        APP_HEADER: "{ Accept: '*/*' }",
        APP_LIMIT: "64MiB",
        APP_TITLE: "12345",
        APP_RULES: "[{ match: abc }]",
        APP_SERVER_CACERT: "",
        app_limit: "7",
        HOME: "/root",
      },
    });
    expect(settings).toMatchObject({
      embedded: true,
      names: ["a", "b"],
      header: { Accept: "*/*" },
      limit: 64 * 2 ** 20,
      title: "12345",
      rules: [{ match: "abc" }],
      server: { caCert: "" },
    });
    expect((await load("", { env: { APP_NAMES: "[x]" } })).settings.names).toEqual(["x"]);
    expect((await load("", { env: { APP_EMBEDDED: "auto" } })).settings.embedded).toBe("auto");
  });

  it("means the deeper of two keys that are spelt alike in the environment", async () => {
    const { settings } = await load("", { env: { APP_SERVER_QUIC_PORT: "9" } });
    expect(settings.server).toMatchObject({ quic: { port: 9 } });
    expect(settings.server.quicPort).toBeUndefined();
  });

  it("takes flags that are no texts, and the last of several", async () => {
    const { settings } = await load("", {
      flags: [
        { flag: "--name", path: "names", value: ["a"] },
        { flag: "--set", path: "server.ca_cert", value: "x" },
        { flag: "--set", path: "server.caCert", value: "y" },
      ],
    });
    expect(settings).toMatchObject({ names: ["a"], server: { caCert: "y" } });
  });

  it("warns of unknown keys, and says where a key of that name is", async () => {
    const { warnings } = await load("log: 1\nport: 2\nserver:\n  colour: red\n", {
      env: { APP_COLOUR: "x", APP_CONFIG: "y" },
      ignoredEnv: ["APP_CONFIG"],
    });
    expect(warnings).toEqual([
      `log is no known key and is ignored (${path}:1)`,
      `port is no known key and is ignored (${path}:2); there is server.port`,
      `server.colour is no known key and is ignored (${path}:4)`,
      "environment variable APP_COLOUR names no known setting and is ignored",
    ]);
  });

  it("names the nearest key for each misspelt one, all at once", async () => {
    const problem = await problemOf("server:\n  prot: 1\n  cacert: x\nlimt: 3\n", {
      env: { APP_SERVER_TIMOUT: "1s" },
      flags: [
        { flag: "--set", path: "server.quik.port", value: "1" },
        { flag: "--set", path: "timeout", value: "1s" },
        { flag: "--set", path: "server", value: "1s" },
      ],
    });
    expect(problem.code).toBe("ERR_SETTINGS_KEY");
    expect(problem.message.split("\n")).toEqual([
      "Cannot use the settings:",
      `  server.prot is no known key (${path}:2), the nearest one is server.port`,
      `  server.cacert is no known key (${path}:3), the nearest one is server.caCert`,
      `  limt is no known key (${path}:4), the nearest one is limit`,
      "  environment variable APP_SERVER_TIMOUT names no known setting, the nearest one is server.timeout (APP_SERVER_TIMEOUT)",
      "  flag --set: server.quik.port is no known setting, the nearest one is server.quic.port",
      "  flag --set: timeout is no known setting, the nearest one is server.timeout",
      "  flag --set: server is no known setting",
    ]);
  });

  it.each([
    ["server: { port: x }", "server.port: wanted a number, got 'x'"],
    ["server: { port: 1.5 }", "server.port: wanted a whole number, got 1.5"],
    ["server: { port: 70000 }", "server.port: wanted at most 65535, got 70000"],
    ["server: { port: .inf }", "server.port: wanted a number, got Infinity"],
    ["server: 5", "server: wanted a section, got 5"],
    ["server: [1, 2]", "server: wanted a section, got a list of 2"],
    ["mode: slow", "mode: wanted fast or safe, got 'slow'"],
    ["embedded: maybe", "embedded: wanted true or false or auto, got 'maybe'"],
    ["names: { a: b }", "names: wanted a list, got a section"],
    ["names: [a, 1]", "names.1: wanted text, got 1"],
    ["title: a", "title: wanted at least 2 characters, got 'a'"],
    [`title: ${"x".repeat(500)}`, `got '${"x".repeat(79)}… (`],
    ["password: hunter2", "password: wanted a number, got something else (not shown)"],
    ["rules: [{}]", "rules.0.match: wanted text, got nothing"],
    ["rules: [{ match: b }]", "rules.0.match: wanted text that starts with a, got 'b'"],
    ["rules: [{ match: a, mtch: b }]", "rules.0: wanted no key mtch, got a section"],
    ["limit: true", "limit: wanted text or a number, got true"],
  ])("says what is wrong with %.40s", async (yaml, message) => {
    const problem = await problemOf(`# first line\n${yaml}`);
    expect(problem.code).toBe("ERR_SETTINGS_VALUE");
    expect(problem.message).toContain(message);
    expect(problem.message).toContain(`(${path}:2)`);
    expect(problem.message).not.toContain("hunter2");
  });

  it("says which variable or flag a bad value came from", async () => {
    const problem = await problemOf("", {
      env: { APP_LIMIT: "much", APP_HEADER: "{" },
      flags: [{ flag: "--port", path: "server.port", value: "http" }],
    });
    expect(problem.message).toContain("got 'much' (environment variable APP_LIMIT)");
    expect(problem.message).toContain("(environment variable APP_HEADER)");
    expect(problem.message).toContain("got 'http' (flag --port)");
  });

  it.each([
    ["a: [1", /app\.yaml:1:\d+ is not valid YAML/],
    ["a: 1\na: 2\n", /app\.yaml:2:1 is not valid YAML/],
    ["just text", /is not a mapping/],
    ["- a\n- b\n", /is not a mapping/],
    ["limit: 1\nserver: *typo\n", /app\.yaml:2 is not valid YAML: \*typo stands for nothing/],
    ["names: [*later]\nx: &later a\n", /app\.yaml:1 is not valid YAML: Unresolved alias .*: later/],
    ["header: &all { x: *all, y: *nope }\n", /app\.yaml:1 is not valid YAML: Unresolved alias/],
    [aliasBomb(), /app\.yaml:11 is not valid YAML: Excessive alias count/],
    [`names: ${"[".repeat(20_000)}`, /app\.yaml:1:\d+ is not valid YAML/],
  ])("refuses the file %j", async (yaml, message) => {
    const problem = await problemOf(yaml);
    expect(problem).toMatchObject({ code: "ERR_SETTINGS_SYNTAX" });
    expect(problem.message).toMatch(message);
  });

  it("does not let a file reach into prototypes", async () => {
    const { warnings } = await load('__proto__: { polluted: true }\nheader: { "__proto__": x }\n');
    expect(warnings).toHaveLength(1);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });
});

/** A list of ten names ten levels deep: ten thousand million of them. */
function aliasBomb(): string {
  const lists = Array.from({ length: 10 }, (_, level) => {
    const item = level === 0 ? "x" : `*l${level - 1}`;
    return `l${level}: &l${level} [${Array.from({ length: 10 }, () => item).join(", ")}]\n`;
  });
  return `${lists.join("")}names: *l9\n`;
}

describe("settingPaths", () => {
  it("lists every setting with a value", () => {
    expect(settingPaths(schema).slice(0, 6)).toEqual([
      "server.port",
      "server.caCert",
      "server.quicPort",
      "server.quic.port",
      "server.timeout",
      "limit",
    ]);
  });
});

describe("formatVariable", () => {
  it("spells a setting as people do", () => {
    expect(formatVariable("APP", ["storage", "server", "quicPort"])).toBe(
      "APP_STORAGE_SERVER_QUIC_PORT",
    );
    expect(formatVariable("APP", ["enable0RTT"])).toBe("APP_ENABLE_0RTT");
    expect(formatVariable("APP", ["enableIPv6", "taskTTL"])).toBe("APP_ENABLE_IPV6_TASK_TTL");
  });
});
