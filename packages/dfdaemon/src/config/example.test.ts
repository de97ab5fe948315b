import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { knownSettings, valuesOf } from "@damselfly/settings";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { configSchema } from "./config-schema.ts";
import { loadConfig } from "./load-config.ts";
import { inertReason } from "./setting-types.ts";

const path = fileURLToPath(new URL("../../../../config/dfdaemon.yaml", import.meta.url));

/** Shown with a value that is not the default, because there is none that could be written down. */
const EXAMPLES = [
  /^host\.(hostname|ip|idc|location)$/,
  /^scheduler\.addrs$/,
  /^manager\.addr$/,
  /\.(caCert|cert|key)$/,
  /^backend\.requestHeader$/,
];

/** The example with every default taken in. */
async function uncommented(): Promise<string> {
  return (await readFile(path, "utf8")).replaceAll(/^( *)#(\w+:)/gm, "$1$2");
}

it("config/dfdaemon.yaml changes nothing as it stands", async () => {
  expect(await loadConfig({ path, pathGiven: true })).toEqual(
    await loadConfig({ path: join(tmpdir(), "no-such-file") }),
  );
});

it("config/dfdaemon.yaml shows the defaults", async () => {
  const dir = await mkdtemp(join(tmpdir(), "config-"));
  try {
    const file = join(dir, "dfdaemon.yaml");
    await writeFile(file, await uncommented());
    const shown = await loadConfig({ path: file });
    expect(shown).toMatchObject({ warnings: [], inert: [], notes: [] });
    const { config } = await loadConfig({ path: join(dir, "none") });
    for (const setting of valuesOf(knownSettings(configSchema))) {
      const name = setting.keys.join(".");
      if (EXAMPLES.some((pattern) => pattern.test(name))) continue;
      expect([name, at(shown.config, setting.keys)]).toEqual([name, at(config, setting.keys)]);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
});

it("config/dfdaemon.yaml has every setting that does something", async () => {
  const example: unknown = parse(await uncommented());
  const missing = valuesOf(knownSettings(configSchema))
    .filter(({ schema }) => inertReason(schema) === undefined)
    .filter(({ keys }) => at(example, keys) === undefined)
    .map(({ keys }) => keys.join("."));
  // Dragonfly's words for storage.server.protocol and storage.server.quic.port, and its older ones for gc.policy.disk….
  expect(missing).toEqual([
    "download.protocol",
    "storage.server.quicPort",
    "gc.policy.distThreshold",
    "gc.policy.distHighThresholdPercent",
    "gc.policy.distLowThresholdPercent",
  ]);
});

function at(tree: unknown, keys: readonly string[]): unknown {
  let value = tree;
  for (const key of keys)
    value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  return value;
}
