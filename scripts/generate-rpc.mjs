// Writes packages/rpc/src/generated from proto/. Run it (`pnpm generate`) after changing a .proto file and commit
// the result; `--check` changes nothing and exits 1 when what is committed is not current.
import { loadSync } from "@grpc/proto-loader";
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const protoDirectory = join(root, "proto");
const outputDirectory = join(root, "packages", "rpc", "src", "generated");
const generator = createRequire(import.meta.url).resolve(
  "@grpc/proto-loader/build/bin/proto-loader-gen-types.js",
);

const expected = generate();
if (process.argv.includes("--check")) check(expected);
else write(expected);

/** The generated files by their path below `outputDirectory`. */
function generate() {
  const protoFiles = filesBelow(protoDirectory).filter((path) => path.endsWith(".proto"));
  const files = new Map();
  for (const [path, text] of messageFiles(protoFiles)) {
    const isService = !/^export (interface|type) \w+__Output /m.test(text);
    if (!isService) files.set(path, adapt(text));
  }
  const messagePaths = [...files.keys()];
  const named = nameMessages(messagePaths);
  files.set("messages.ts", messagesIndex(named, files));
  files.set("services.ts", servicesFile(protoFiles, named));
  return files;
}

/** What proto-loader's own generator makes of the messages. */
function messageFiles(protoFiles) {
  const directory = mkdtempSync(join(tmpdir(), "generate-rpc-"));
  try {
    const options = ["--longs=Number", "--enums=String", "--defaults", "--oneofs"];
    const style = ["--includeComments", "--importFileExtension=.ts"];
    const paths = ["-I", "proto", "-O", directory];
    const { status, stderr, error } = spawnSync(
      process.execPath,
      [generator, ...options, ...style, ...paths, "--", ...protoFiles],
      { cwd: root, encoding: "utf8" },
    );
    if (error) throw error;
    if (status !== 0) throw new Error(`Cannot generate the message types: ${stderr}`);
    return filesBelow(directory)
      .filter((path) => path.includes("/")) // those on top describe whole packages: not used
      .map((path) => [path, readFileSync(join(directory, path), "utf8")]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/**
 * Narrows the input types to what we pass (numbers are numbers, bytes are bytes) and lets an optional property be
 * undefined, which our strict options refuse otherwise and the encoder skips like an absent one.
 */
function adapt(text) {
  const [head, ...interfaces] = text.split(/^(?=export interface )/m);
  const adapted = interfaces.map((part) => {
    if (/^export interface \w+__Output /.test(part)) return part;
    return part
      .replaceAll("(number | string | Long)", "(number)")
      .replaceAll("(Buffer | Uint8Array | string)", "(Uint8Array)")
      .replace(/^ {2}'_\w+'\?: "\w+";\n/gm, "")
      .replace(/^( {2}'\w+'\?: .*);$/gm, "$1 | undefined;");
  });
  const imports = head.replace("import type { Long } from '@grpc/proto-loader';\n", "");
  return imports + adapted.join("");
}

/** Full name (`common.v2.Task`) to `{ path, name }`; a name that two packages use gets its package in front. */
function nameMessages(paths) {
  const entries = paths.map((path) => {
    const parts = path.replace(/\.ts$/, "").split("/");
    return { path, fullName: parts.join("."), name: parts.at(-1), packageName: parts[0] };
  });
  const counts = new Map();
  for (const { name } of entries) counts.set(name, (counts.get(name) ?? 0) + 1);
  return new Map(
    entries.map(({ path, fullName, name, packageName }) => {
      const prefix = packageName[0].toUpperCase() + packageName.slice(1);
      return [fullName, { path, name, alias: counts.get(name) > 1 ? prefix + name : name }];
    }),
  );
}

function messagesIndex(named, files) {
  const lines = [...named.values()].map(({ path, name, alias }) => {
    const isEnum = files.get(path).includes(`\nexport const ${name} `);
    const nameType = isEnum ? "" : "type ";
    const names = `${nameType}${rename(name, alias)}, type ${rename(`${name}__Output`, `${alias}__Output`)}`;
    return `export { ${names} } from "./${path}";`;
  });
  return `// Every message: \`X\` is what we pass in, \`X__Output\` what arrives.\n${lines.join("\n")}\n`;
}

function rename(from, to) {
  return from === to ? from : `${from} as ${to}`;
}

/** One interface a service: the four types and the kind of each method. */
function servicesFile(protoFiles, named) {
  const definitions = loadSync(protoFiles, { includeDirs: [protoDirectory] });
  const services = Object.entries(definitions)
    .filter(([, definition]) => !("format" in definition))
    .toSorted(([a], [b]) => byCodeUnits(a, b));
  const used = new Set();
  const bodies = services.map(([fullName, definition]) => {
    const methods = Object.values(definition).map((method) => {
      const types = [method.requestType, method.responseType].map((type) => {
        const { alias } = named.get(messageName(method, type, named));
        used.add(alias);
        return `${alias}, ${alias}__Output`;
      });
      return `  readonly ${method.originalName}: ${kindOf(method)}<${types.join(", ")}>;`;
    });
    const name = fullName.split(".").at(-1);
    return `/** ${fullName} */\nexport interface ${name}Methods {\n${methods.join("\n")}\n}\n`;
  });
  const imports = [...used]
    .toSorted(byCodeUnits)
    .map((alias) => `  ${alias},\n  ${alias}__Output,\n`);
  return [
    "// The services: what each method takes and returns.\n",
    `import type {\n${imports.join("")}} from "./messages.ts";\n`,
    'import type { DuplexMethod, ServerStreamMethod, UnaryMethod } from "../method.ts";\n\n',
    bodies.join("\n"),
  ].join("");
}

/** proto-loader gives a method's types by their short names; the longest matching scope wins, as in protobuf. */
function messageName(method, type, named) {
  const scope = method.path.split("/")[1].split(".").slice(0, -1).join(".");
  const fileOf = (name) => named.get(name)?.path;
  const candidates = [`${scope}.${type.type.name}`, ...fullNamesOf(type.type.name, named)];
  const found = candidates.find((name) => fileOf(name) !== undefined);
  if (!found) throw new Error(`Cannot find the message ${type.type.name} of ${method.path}`);
  return found;
}

function fullNamesOf(name, named) {
  return [...named.keys()].filter((fullName) => fullName.endsWith(`.${name}`));
}

function kindOf({ requestStream, responseStream, path }) {
  if (requestStream && responseStream) return "DuplexMethod";
  if (responseStream) return "ServerStreamMethod";
  if (!requestStream) return "UnaryMethod";
  throw new Error(`Cannot generate ${path}: client streams are not supported`);
}

function write(files) {
  rmSync(outputDirectory, { recursive: true, force: true });
  for (const [path, text] of files) {
    mkdirSync(dirname(join(outputDirectory, path)), { recursive: true });
    writeFileSync(join(outputDirectory, path), text);
  }
  console.log(`generate-rpc: wrote ${files.size} files`);
}

function check(files) {
  const committed = filesBelow(outputDirectory);
  const stale = committed.filter((path) => !files.has(path));
  for (const [path, text] of files) {
    const isCurrent =
      committed.includes(path) && readFileSync(join(outputDirectory, path), "utf8") === text;
    if (!isCurrent) stale.push(path);
  }
  if (stale.length === 0) return;
  console.error(
    `generate-rpc: packages/rpc/src/generated is not current (${stale[0]}, ${stale.length} in all): run \`pnpm generate\``,
  );
  process.exit(1);
}

/** Paths of all files below `directory`, relative to it, with `/`, sorted. */
function filesBelow(directory) {
  return readdirSync(directory, { recursive: true })
    .filter((path) => statSync(join(directory, path)).isFile())
    .map((path) => path.replaceAll("\\", "/"))
    .toSorted(byCodeUnits);
}

/** The same order on every machine. */
function byCodeUnits(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
