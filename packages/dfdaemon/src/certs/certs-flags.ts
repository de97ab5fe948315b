import { parseArgs } from "node:util";
import { nearestName } from "@damselfly/settings";

/** A command line that cannot be understood. */
export class CertsUsageError extends Error {
  override readonly name = "CertsUsageError";
}

export const CERTS_VERBS = ["init", "issue", "renew", "show", "revoke"] as const;
export type CertsVerb = (typeof CERTS_VERBS)[number];

/** The flags of all verbs, checked; those that a verb does not have are not given. */
export interface CertsFlags {
  /** Where the authority lies. */
  readonly dir: string;
  readonly out: string | undefined;
  readonly hostname: string | undefined;
  readonly ips: readonly string[];
  readonly days: number | undefined;
  readonly force: boolean;
  /** The key's file, where its name does not follow from the certificate's. */
  readonly key: string | undefined;
  readonly keepKey: boolean;
  readonly serials: readonly string[];
  /** The list of revoked certificates. */
  readonly list: string | undefined;
  readonly reason: string | undefined;
  readonly json: boolean;
  /** Files and directories. */
  readonly paths: readonly string[];
}

const FLAGS = {
  dir: { type: "string" },
  days: { type: "string" },
  force: { type: "boolean" },
  hostname: { type: "string" },
  ip: { type: "string", multiple: true },
  out: { type: "string" },
  key: { type: "string" },
  "keep-key": { type: "boolean" },
  serial: { type: "string", multiple: true },
  list: { type: "string" },
  reason: { type: "string" },
  json: { type: "boolean" },
} as const;

const FLAGS_OF: Readonly<Record<CertsVerb, readonly (keyof typeof FLAGS)[]>> = {
  init: ["dir", "days", "force"],
  issue: ["dir", "days", "force", "hostname", "ip", "out"],
  renew: ["dir", "days", "key", "keep-key", "list"],
  show: ["json", "list"],
  revoke: ["dir", "serial", "hostname", "list", "reason"],
};
const TAKES_PATHS: ReadonlySet<CertsVerb> = new Set<CertsVerb>(["renew", "show", "revoke"]);

/** @throws {CertsUsageError} */
export function parseCertsFlags(verb: CertsVerb, args: readonly string[]): CertsFlags {
  const known: readonly string[] = FLAGS_OF[verb];
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
    const { values, positionals } = parseArgs({
      args: [...args],
      options: FLAGS,
      allowPositionals: TAKES_PATHS.has(verb),
    });
    return {
      dir: values.dir ?? ".",
      out: values.out,
      hostname: values.hostname,
      ips: values.ip ?? [],
      days: values.days === undefined ? undefined : parseDays(values.days),
      force: values.force ?? false,
      key: values.key,
      keepKey: values["keep-key"] ?? false,
      serials: values.serial ?? [],
      list: values.list,
      reason: values.reason,
      json: values.json ?? false,
      paths: positionals,
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
