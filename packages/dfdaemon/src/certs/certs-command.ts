import { X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { formatSerial } from "@damselfly/transport";
import { createAuthority, issueCertificate, type CertificateAndKey } from "./certificates.ts";
import {
  CERTS_VERBS,
  type CertsFlags,
  CertsUsageError,
  type CertsVerb,
  parseCertsFlags,
} from "./certs-flags.ts";
import { noteIssued } from "./issued-list.ts";
import { assertAbsent, pathsOf, readAuthority, writePair, type PairPaths } from "./node-files.ts";
import { renew } from "./renew.ts";
import { revoke } from "./revoke.ts";
import { show } from "./show.ts";

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
    await run(argv, (text) => stdout.write(text));
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    stderr.write(`dfdaemon certs: ${error.message}\n`);
    return error instanceof CertsUsageError ? 2 : 1;
  }
}

/** What `dfdaemon certs --help` prints. */
export const CERTS_HELP = `Usage: dfdaemon certs init   [--dir DIR] [--days N] [--force]
       dfdaemon certs issue  --hostname NAME --ip IP [--ip IP ...]
                             [--dir DIR] [--out PREFIX] [--days N] [--force]
       dfdaemon certs renew  FILE [FILE ...] [--dir DIR] [--days N]
                             [--key FILE | --keep-key] [--list FILE]
       dfdaemon certs show   [FILE|DIR ...] [--json] [--list FILE]
       dfdaemon certs revoke [FILE ...] [--serial HEX ...] [--hostname NAME]
                             [--dir DIR] [--list FILE] [--reason TEXT]

init makes a certificate authority: DIR/ca.pem and DIR/ca-key.pem. Keep the key
to yourself: who has it can join the cluster.
issue makes a certificate for one node, signed by the authority in DIR:
PREFIX.pem and PREFIX-key.pem. What is issued is written down in DIR/issued.txt.
renew puts another certificate in the place of each FILE, with the same names,
signed by the authority in DIR, and another key in the place of its key. A daemon
that uses them takes them while it runs; it finds a pair that fits at any moment.
show says who a certificate is for, by whom, its names, until when it is good,
its serial number and fingerprint, and whether it is revoked. A DIR stands for
the .pem files in it; without any it is this one.
revoke adds certificates to a list, DIR/revoked.txt. Copy it to the nodes, where
security.revoked names it: they refuse these certificates from then on, and close
their connections.

  --dir DIR        where the authority lies (default: here)
  --hostname NAME  as the node announces it (host.hostname); revoke: everything
                   that was issued for it and is still good
  --ip IP          an address it is reached at; repeatable
  --out PREFIX     default: DIR/NAME
  --days N         default: 3650 for the authority, 365 for a node
  --force          replace files that are there
  --key FILE       the certificate's key; default: X-key.pem for X.pem
  --keep-key       a certificate for the same key, which need not be at hand
  --serial HEX     as show prints it; repeatable
  --list FILE      the list of revoked certificates; default: revoked.txt in DIR,
                   for show beside each certificate, if there is one
  --reason TEXT    a remark in the list
  --json           for programs

Exit codes: 0 done, 1 could not be done, 2 wrong usage.
`;

async function run(argv: readonly string[], write: (text: string) => void): Promise<void> {
  const [verb, ...args] = argv;
  if (verb === undefined || argv.includes("--help") || argv.includes("-h")) {
    write(CERTS_HELP);
    return;
  }
  if (!isVerb(verb))
    throw new CertsUsageError(
      `Cannot run '${verb}': expected ${CERTS_VERBS.slice(0, -1).join(", ")} or ${CERTS_VERBS.at(-1)}`,
    );
  const flags = parseCertsFlags(verb, args);
  switch (verb) {
    case "init":
      write(await init(flags));
      return;
    case "issue":
      write(await issue(flags));
      return;
    case "renew":
      await renew(flags, write);
      return;
    case "show":
      write(await show(flags, Date.now()));
      return;
    case "revoke":
      write(await revoke(flags, Date.now()));
      return;
  }
}

function isVerb(text: string): text is CertsVerb {
  return CERTS_VERBS.some((verb) => verb === text);
}

async function init(flags: CertsFlags): Promise<string> {
  const paths = pathsOf(join(flags.dir, "ca"));
  await mkdir(flags.dir, { recursive: true });
  const authority = await createAuthority(flags.days === undefined ? {} : { days: flags.days });
  await writePair(paths, authority, { replace: flags.force });
  return `${describe(paths, authority)}
Now make a certificate for every node:
  dfdaemon certs issue --dir ${flags.dir} --hostname NAME --ip IP
`;
}

async function issue(flags: CertsFlags): Promise<string> {
  const { hostname, ips, days } = flags;
  if (hostname === undefined)
    throw new CertsUsageError("Cannot issue a certificate: --hostname is missing");
  if (ips.length === 0) throw new CertsUsageError("Cannot issue a certificate: --ip is missing");
  const authorityPaths = pathsOf(join(flags.dir, "ca"));
  const paths = pathsOf(flags.out ?? join(flags.dir, hostname));
  const authority = await readAuthority(authorityPaths);
  if (!flags.force) assertAbsent(paths);
  const node = await issueCertificate(authority, {
    hostname,
    ips,
    ...(days === undefined ? {} : { days }),
  });
  await noteIssued(flags.dir, node.cert, hostname);
  await writePair(paths, node, { replace: flags.force });
  return `${describe(paths, node)}
On ${hostname}, in dfdaemon.yaml (ca.pem goes there too, ca-key.pem does not):
security:
  caCert: ${resolve(authorityPaths.cert)}
  cert: ${resolve(paths.cert)}
  key: ${resolve(paths.key)}
`;
}

function describe(paths: PairPaths, { cert }: CertificateAndKey): string {
  const { validTo, fingerprint256, serialNumber } = new X509Certificate(cert);
  return `Wrote ${paths.cert} and ${paths.key}, valid to ${validTo}
serial ${formatSerial(serialNumber)}
SHA-256 ${fingerprint256}
`;
}
