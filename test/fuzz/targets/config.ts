import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { loadConfig, type LoadedConfig } from "@damselfly/dfdaemon";
import { SettingsError, type SettingsErrorCode } from "@damselfly/settings";
import { assertHolds, type FuzzTarget, type OpenTarget } from "../engine/fuzz-target.ts";

/**
 * The daemon's settings. An input is a YAML file, then, behind the first zero byte, lines of `NAME=VALUE` for the environment. It must
 * be a config or a `SettingsError` with a message for people, the same one each time; and a variable that is right in itself must win.
 */
export const config: FuzzTarget = {
  name: "config",
  summary: "config files and environments: a config, or a SettingsError that says what is wrong",
  lengthMax: 16_384,
  groupLength: 1,
  isConcurrent: false,
  async open({ directory }): Promise<OpenTarget> {
    const path = join(directory, "dfdaemon.yaml");
    const example = await readFile(new URL("../../../../config/dfdaemon.yaml", import.meta.url));
    return {
      examples: [example, ...EXAMPLES.map((text) => Buffer.from(text))],
      dictionary: dictionaryOf(example.toString()),
      run: (input) => run(path, input),
      async [Symbol.asyncDispose]() {},
    };
  },
};

const CODES: ReadonlySet<SettingsErrorCode> = new Set<SettingsErrorCode>([
  "ERR_SETTINGS_SYNTAX",
  "ERR_SETTINGS_KEY",
  "ERR_SETTINGS_VALUE",
]);

/** What there is to say about one byte of an input, at most. */
const MESSAGE_LENGTH_PER_BYTE_MAX = 400;

async function run(path: string, input: Uint8Array): Promise<void> {
  const end = input.indexOf(0);
  await writeFile(path, end < 0 ? input : input.subarray(0, end));
  const env = end < 0 ? {} : parseEnvironment(Buffer.from(input.subarray(end + 1)).toString());
  const first = await outcomeOf(path, env);
  const second = await outcomeOf(path, env);
  assertHolds(isDeepStrictEqual(first, second), "it is not the same the second time");
  if (first instanceof SettingsError) {
    assertHolds(CODES.has(first.code), () => `the code is ${first.code}`);
    assertHolds(first.message.startsWith("Cannot "), () => `the message is ${first.message}`);
    const lengthMax = 1_000 + input.byteLength * MESSAGE_LENGTH_PER_BYTE_MAX;
    assertHolds(
      first.message.length <= lengthMax,
      () => `${first.message.length} letters are said`,
    );
    return;
  }
  assertSound(first.config);
  const overruled = await outcomeOf(path, { ...env, DFDAEMON_UPLOAD_SERVER_PORT: "4321" });
  if (overruled instanceof SettingsError) {
    const { message } = overruled;
    assertHolds(/upload/i.test(message), () => `with a port from the environment: ${message}`);
    return; // spelt twice, by the input
  }
  assertHolds(overruled.config.upload.server.port === 4321, "the environment does not win");
}

async function outcomeOf(
  path: string,
  env: Record<string, string>,
): Promise<LoadedConfig | SettingsError> {
  try {
    return await loadConfig({ path, pathGiven: true, env });
  } catch (error) {
    if (error instanceof SettingsError) return error;
    throw error;
  }
}

/** Numbers that are no numbers, or negative where time, counts and ports are meant, have got past the schema. Only a rate may have no bound. */
function assertSound(value: unknown, at = "config"): void {
  if (typeof value === "number") {
    const isSound = Number.isFinite(value) || (value === Infinity && /bandwidthLimit$/i.test(at));
    assertHolds(isSound && value >= 0, () => `${at} is ${value}`);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, child] of Object.entries(value)) assertSound(child, `${at}.${key}`);
  }
}

function parseEnvironment(text: string): Record<string, string> {
  const lines = text.split("\n").map((line) => line.split("="));
  return Object.fromEntries(lines.map(([name = "", ...rest]) => [name, rest.join("=")]));
}

/** Every key and value there is, and what YAML is made of. */
function dictionaryOf(example: string): Uint8Array[] {
  const words = new Set(example.match(/[A-Za-z][\w-]+:?/g) ?? []);
  return [...words, ...YAML].map((token) => Buffer.from(token));
}

const YAML: readonly string[] = [
  ["&a ", "*a", "<<: *a\n", "? ", "- ", ": ", ", ", "{", "}", "[", "]", "|\n", ">\n", "!!binary "],
  ["!!set", "!!int ", "!!timestamp ", "---\n", "...\n", "%YAML 1.1\n", "#", "\t", "'", '"', "~"],
  ["null", "true", "yes", ".inf", "-.inf", ".nan", "0x10", "0o17", "1e400", "-1", "12h3m", "5GB"],
  ["__proto__", "constructor", "toString", "\0", "\u2028", "\ufeff", "\ud7ff", "\r\n", "\n  "],
  ["DFDAEMON_", "DFDAEMON_STORAGE_SERVER_QUIC_PORT=", "DFDAEMON_SECURITY_INSECURE=true\n"],
].flat();

const EXAMPLES: readonly string[] = [
  "",
  "{}\n",
  "storage: { server: { protocol: quic, quic: { port: 4006, idle_timeout: 5m } } }\n",
  "scheduler: { addrs: ['10.0.0.1:8002', \"[::1]:8002\"], announceInterval: 1h30m }\n",
  "host: &host { hostname: n1, ip: 10.0.0.1 }\nx: *host\n",
  "a: &a [1, 2]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nscheduler: { addrs: *c }\n",
  "download: { pieceTimeout: 360s, concurrentPieceCount: 8 }\nupload: { server: { port: 4000 } }\n",
  "backend: { requestHeader: { authorization: 'Bearer x' } }\n",
  "proxy: { rules: [{ regex: 'blobs/sha256.*' }], registryMirror: { addr: https://h } }\n",
  "security: { insecure: true, plainPeers: false }\n\0DFDAEMON_HOST_IP=10.0.0.9\nDFDAEMON_X=1\n",
  "\0DFDAEMON_SCHEDULER_ADDRS=a:1,b:2\nDFDAEMON_STORAGE_SERVER_PROTOCOL=tcp\n",
];
