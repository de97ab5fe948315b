import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { nearestName } from "@damselfly/settings";
import {
  createAuthority,
  issueCertificate,
  type Authority,
  type CertificateAndKey,
} from "./certificates.ts";
import { createFile } from "./create-file.ts";

/** Where the command's output goes. */
export interface CertsOutput {
  readonly stdout: { write(text: string): unknown };
  /** For errors; `stdout` unless given. */
  readonly stderr?: { write(text: string): unknown };
}

/**
 * `dfdaemon certs …`: an authority for a cluster, and certificates for its nodes, as files.
 *
 * @param argv - what follows `certs`
 * @returns the exit code: 0; 1 if it could not be done; 2 if the command line cannot be understood
 */
export async function runCertsCommand(
  argv: readonly string[],
  { stdout, stderr = stdout }: CertsOutput,
): Promise<number> {
  try {
    stdout.write(await run(argv));
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    stderr.write(`dfdaemon certs: ${error.message}\n`);
    return error instanceof CertsUsageError ? 2 : 1;
  }
}

/** What `dfdaemon certs --help` prints. */
export const CERTS_HELP = `Usage: dfdaemon certs init  [--dir DIR] [--days N] [--force]
       dfdaemon certs issue --hostname NAME --ip IP [--ip IP ...]
                            [--dir DIR] [--out PREFIX] [--days N] [--force]

init makes a certificate authority: DIR/ca.pem and DIR/ca-key.pem. Keep the key
to yourself: who has it can join the cluster.
issue makes a certificate for one node, signed by the authority in DIR:
PREFIX.pem and PREFIX-key.pem.

  --dir DIR        where the authority lies (default: here)
  --hostname NAME  as the node announces it (host.hostname)
  --ip IP          an address it is reached at; repeatable
  --out PREFIX     default: DIR/NAME
  --days N         default: 3650 for the authority, 365 for a node
  --force          replace files that are there
`;

/** A command line that cannot be understood. */
class CertsUsageError extends Error {
  override readonly name = "CertsUsageError";
}

async function run(argv: readonly string[]): Promise<string> {
  const [verb, ...flags] = argv;
  if (verb === undefined || argv.includes("--help") || argv.includes("-h")) return CERTS_HELP;
  if (verb === "init") return await init(parseFlags(verb, flags));
  if (verb === "issue") return await issue(parseFlags(verb, flags));
  throw new CertsUsageError(`Cannot run '${verb}': expected init or issue`);
}

async function init(flags: Flags): Promise<string> {
  const paths = pathsOf(join(flags.dir, "ca"));
  await mkdir(flags.dir, { recursive: true });
  const authority = await createAuthority(flags.days === undefined ? {} : { days: flags.days });
  await write(paths, authority, flags.force);
  return `${describe(paths, authority)}
Now make a certificate for every node:
  dfdaemon certs issue --dir ${flags.dir} --hostname NAME --ip IP
`;
}

async function issue(flags: Flags): Promise<string> {
  const { hostname, ips, days } = flags;
  if (hostname === undefined)
    throw new CertsUsageError("Cannot issue a certificate: --hostname is missing");
  if (ips.length === 0) throw new CertsUsageError("Cannot issue a certificate: --ip is missing");
  const authorityPaths = pathsOf(join(flags.dir, "ca"));
  const paths = pathsOf(flags.out ?? join(flags.dir, hostname));
  const authority = await readAuthority(authorityPaths);
  const node = await issueCertificate(authority, {
    hostname,
    ips,
    ...(days === undefined ? {} : { days }),
  });
  await write(paths, node, flags.force);
  return `${describe(paths, node)}
On ${hostname}, in dfdaemon.yaml (ca.pem goes there too, ca-key.pem does not):
security:
  caCert: ${resolve(authorityPaths.cert)}
  cert: ${resolve(paths.cert)}
  key: ${resolve(paths.key)}
`;
}

/** The flags of both verbs, checked. */
interface Flags {
  readonly dir: string;
  readonly out: string | undefined;
  readonly hostname: string | undefined;
  readonly ips: readonly string[];
  readonly days: number | undefined;
  readonly force: boolean;
}

const FLAGS = {
  dir: { type: "string" },
  days: { type: "string" },
  force: { type: "boolean" },
  hostname: { type: "string" },
  ip: { type: "string", multiple: true },
  out: { type: "string" },
} as const;
const INIT_FLAGS: readonly string[] = ["dir", "days", "force"];

function parseFlags(verb: "init" | "issue", args: readonly string[]): Flags {
  const known = verb === "init" ? INIT_FLAGS : Object.keys(FLAGS);
  const { tokens } = parseArgs({ args: [...args], options: FLAGS, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind === "option" && !known.includes(token.name)) {
      const nearest = nearestName(token.name, known);
      const hint =
        nearest === undefined ? "see dfdaemon certs --help" : `did you mean --${nearest}?`;
      throw new CertsUsageError(`Cannot use ${token.rawName}: ${verb} has no such flag; ${hint}`);
    }
  }
  try {
    const { values } = parseArgs({ args: [...args], options: FLAGS });
    return {
      dir: values.dir ?? ".",
      out: values.out,
      hostname: values.hostname,
      ips: values.ip ?? [],
      days: values.days === undefined ? undefined : parseDays(values.days),
      force: values.force ?? false,
    };
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new CertsUsageError(`Cannot run ${verb}: ${cause.message}`, { cause });
  }
}

function parseDays(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > 36_500)
    throw new CertsUsageError(`Cannot use --days: it is '${text}', expected 1 to 36500`);
  return Number(text);
}

interface Paths {
  readonly cert: string;
  readonly key: string;
}

function pathsOf(prefix: string): Paths {
  return { cert: `${prefix}.pem`, key: `${prefix}-key.pem` };
}

async function readAuthority(paths: Paths): Promise<Authority> {
  try {
    const [cert, key] = await Promise.all([
      readFile(paths.cert, "utf8"),
      readFile(paths.key, "utf8"),
    ]);
    return { cert, key };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot read the authority: ${why}; dfdaemon certs init makes one`, { cause });
  }
}

/** The key first: a certificate without its key would be in the way of the next try. */
async function write(paths: Paths, made: CertificateAndKey, replace: boolean): Promise<void> {
  for (const path of [paths.key, paths.cert]) {
    if (!replace && existsSync(path))
      throw new Error(`Cannot write ${path}: it is there already, give --force to replace it`);
  }
  await createFile(paths.key, made.key, { mode: 0o600, replace });
  await createFile(paths.cert, made.cert, { mode: 0o644, replace });
}

function describe(paths: Paths, { cert }: CertificateAndKey): string {
  const { validTo, fingerprint256 } = new X509Certificate(cert);
  return `Wrote ${paths.cert} and ${paths.key}, valid to ${validTo}
SHA-256 ${fingerprint256}
`;
}
