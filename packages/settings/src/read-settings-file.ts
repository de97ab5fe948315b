import { readFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
} from "yaml";
import { SettingsError } from "./errors.ts";
import { childOf, valuesOf, type KnownSetting } from "./known-settings.ts";
import { nearestName } from "./nearest-name.ts";
import {
  formatSource,
  type GivenSetting,
  type ReadSettings,
  type SettingSource,
} from "./setting-source.ts";

/**
 * Reads a YAML file against the keys of a schema. A key without a value counts as absent.
 *
 * @returns undefined if there is no such file
 * @throws {SettingsError} `ERR_SETTINGS_FILE` if it cannot be read, `ERR_SETTINGS_SYNTAX` if it is no YAML mapping
 */
export async function readSettingsFile(
  path: string,
  known: KnownSetting,
): Promise<ReadSettings | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new SettingsError(
      "ERR_SETTINGS_SYNTAX",
      `Cannot read settings: ${path}:${line}:${col} is not valid YAML: ${error.message}`,
    );
  }
  if (document.contents !== null && !isEmpty(document.contents) && !isMap(document.contents)) {
    throw new SettingsError(
      "ERR_SETTINGS_SYNTAX",
      `Cannot read settings: ${path} is not a mapping, expected lines such as 'key: value'`,
    );
  }
  const read = { path, document, lines, given: [], problems: [], warnings: [] };
  readSection(read, document.contents, known);
  return read;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SettingsError("ERR_SETTINGS_FILE", `Cannot read settings from ${path}: ${why}`, {
      cause,
    });
  }
}

/** The file being read, and what has been found so far. */
interface Reading {
  readonly path: string;
  readonly document: Document;
  readonly lines: LineCounter;
  readonly given: GivenSetting[];
  readonly problems: string[];
  readonly warnings: string[];
}

function readSection(read: Reading, section: Node | null, known: KnownSetting): void {
  if (!isMap<Node, Node | null>(section)) return;
  for (const { key, value } of section.items) {
    const name = String(isScalar(key) ? key.value : key);
    const source = sourceOf(read, key);
    const child = childOf(known, name);
    if (child === undefined) {
      reportUnknown(read, known, name, source);
      continue;
    }
    const target = isAlias(value) ? resolveAlias(read, value, source) : value;
    if (target === null || isEmpty(target)) continue;
    if (child.children !== undefined && isMap(target)) readSection(read, target, child);
    else addGiven(read, { keys: child.keys, value: valueOf(read, target, source), source });
  }
}

/** @throws {SettingsError} `ERR_SETTINGS_SYNTAX` if there is nothing of that name before it */
function resolveAlias(read: Reading, alias: Alias, source: SettingSource): Node {
  const target = alias.resolve(read.document);
  if (target !== undefined) return target;
  throw aliasError(source, `*${alias.source} stands for nothing that comes before it`);
}

/** @throws {SettingsError} `ERR_SETTINGS_SYNTAX` if an alias in it stands for nothing, or for too much */
function valueOf(read: Reading, node: Node, source: SettingSource): unknown {
  try {
    return node.toJS(read.document);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw aliasError(source, why, cause);
  }
}

function aliasError(source: SettingSource, why: string, cause?: unknown): SettingsError {
  return new SettingsError(
    "ERR_SETTINGS_SYNTAX",
    `Cannot read settings: ${formatSource(source)} is not valid YAML: ${why}`,
    { cause },
  );
}

/** Two spellings of one key may both be there, as long as they agree. */
function addGiven(read: Reading, setting: GivenSetting): void {
  const path = setting.keys.join(".");
  const earlier = read.given.find(({ keys }) => keys.join(".") === path);
  if (earlier !== undefined && !isDeepStrictEqual(earlier.value, setting.value)) {
    read.problems.push(
      `${path} is given twice and differs (${formatSource(earlier.source)} and ${formatSource(setting.source)}), expected it once`,
    );
  }
  read.given.push(setting);
}

function reportUnknown(
  read: Reading,
  known: KnownSetting,
  name: string,
  source: SettingSource,
): void {
  const at = [...known.keys, name].join(".");
  const nearest = nearestName(name, known.children?.keys() ?? []);
  if (nearest !== undefined) {
    const meant = [...known.keys, nearest].join(".");
    read.problems.push(
      `${at} is no known key (${formatSource(source)}), the nearest one is ${meant}`,
    );
    return;
  }
  const elsewhere = valuesOf(known).find(({ keys }) => keys.at(-1) === name);
  const hint = elsewhere === undefined ? "" : `; there is ${elsewhere.keys.join(".")}`;
  read.warnings.push(`${at} is no known key and is ignored (${formatSource(source)})${hint}`);
}

function sourceOf(read: Reading, key: Node): SettingSource {
  return { kind: "file", path: read.path, line: read.lines.linePos(key.range?.[0] ?? 0).line };
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && node.value === null;
}
