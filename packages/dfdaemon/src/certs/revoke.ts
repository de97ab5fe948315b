import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatRevocation, parseRevocationList, REVOCATION_LIST_HEAD } from "@damselfly/settings";
import { messageOf } from "../message-of.ts";
import { factsOf } from "./certificate-facts.ts";
import { type CertsFlags, CertsUsageError } from "./certs-flags.ts";
import { createFile, replaceFile } from "./create-file.ts";
import { issuedListPath, readIssued, type IssuedCertificate } from "./issued-list.ts";
import { readCertificate } from "./node-files.ts";

/** Where the list of revoked certificates of an authority lies, unless it is said. */
export function listPathIn(dir: string): string {
  return join(dir, "revoked.txt");
}

/** A certificate to be revoked, as far as it is known. */
interface Target {
  readonly serial: string;
  readonly hostname: string | undefined;
  readonly validTo: Date | undefined;
}

/**
 * `certs revoke`: adds certificates to the list, which is made if it is not there.
 *
 * @returns what to print
 * @throws {CertsUsageError | Error} naming the file; nothing is revoked then
 */
export async function revoke(flags: CertsFlags, nowMs: number): Promise<string> {
  const { dir, paths, serials, hostname, reason } = flags;
  if (paths.length + serials.length === 0 && hostname === undefined)
    throw new CertsUsageError(
      "Cannot revoke: nothing says which, expected files, --serial or --hostname",
    );
  const issued = await readIssued(dir);
  const targets = [
    ...(await Promise.all(paths.map(targetIn))),
    ...serials.map((serial) => targetOf(serial, issued)),
    ...(hostname === undefined ? [] : targetsNamed(hostname, issued, { dir, nowMs })),
  ];
  const listPath = flags.list ?? listPathIn(dir);
  const { text, known } = await readList(listPath);
  const added = targets.filter(
    ({ serial }, index) =>
      !known.has(serial) && targets.findIndex((one) => one.serial === serial) === index,
  );
  const lines = added.map((target) =>
    formatRevocation(target.serial, remarkOf(target, reason, nowMs)),
  );
  if (added.length > 0) await writeList(listPath, `${text}${lines.join("")}`);
  return report({ listPath, targets, added, others: othersOf(targets, issued, known, nowMs) });
}

async function targetIn(path: string): Promise<Target> {
  const { pem, certificate } = await readCertificate(path);
  if (certificate.ca)
    throw new Error(
      `Cannot revoke ${path}: it is an authority's; take it out of the nodes' ca.pem (security.caCert) instead`,
    );
  const { names, serial } = await factsOf(pem);
  const [hostname] = names.dns;
  return { serial, hostname, validTo: new Date(certificate.validTo) };
}

function targetOf(text: string, issued: readonly IssuedCertificate[]): Target {
  let serial: string | undefined;
  try {
    [serial] = parseRevocationList(text);
  } catch (cause) {
    throw new CertsUsageError(`Cannot use --serial '${text}': ${messageOf(cause)}`, { cause });
  }
  if (serial === undefined) throw new CertsUsageError("Cannot use --serial: it is empty");
  const known = issued.find((one) => one.serial === serial);
  return { serial, hostname: known?.hostname, validTo: known?.validTo };
}

function targetsNamed(
  hostname: string,
  issued: readonly IssuedCertificate[],
  { dir, nowMs }: { readonly dir: string; readonly nowMs: number },
): Target[] {
  const found = issued.filter((one) => one.hostname === hostname && one.validTo.getTime() > nowMs);
  if (found.length > 0) return found;
  throw new Error(
    `Cannot revoke ${hostname}: ${issuedListPath(dir)} knows no certificate of it that is still good; give its file, or --serial`,
  );
}

async function readList(
  path: string,
): Promise<{ readonly text: string; readonly known: ReadonlySet<string> }> {
  if (!existsSync(path)) return { text: REVOCATION_LIST_HEAD, known: new Set() };
  try {
    const text = await readFile(path, "utf8");
    const known = new Set(parseRevocationList(text));
    return { text: text === "" || text.endsWith("\n") ? text : `${text}\n`, known };
  } catch (cause) {
    throw new Error(`Cannot add to the list ${path}: ${messageOf(cause)}`, { cause });
  }
}

async function writeList(path: string, text: string): Promise<void> {
  if (existsSync(path)) await replaceFile(path, text);
  else await createFile(path, text, { mode: 0o644, replace: false });
}

function remarkOf(
  { hostname, validTo }: Target,
  reason: string | undefined,
  nowMs: number,
): string {
  const parts = [
    hostname ?? "not known by name",
    ...(validTo === undefined ? [] : [`valid to ${dayOf(validTo)}`]),
    `revoked ${dayOf(new Date(nowMs))}`,
  ];
  return parts.join(", ") + (reason === undefined ? "" : `: ${reason}`);
}

/** Others of the same hosts that are still good: whoever has the one may have these. */
function othersOf(
  targets: readonly Target[],
  issued: readonly IssuedCertificate[],
  known: ReadonlySet<string>,
  nowMs: number,
): IssuedCertificate[] {
  const serials = new Set(targets.map(({ serial }) => serial));
  const hostnames = new Set(targets.map(({ hostname }) => hostname));
  return issued.filter(
    ({ serial, hostname, validTo }) =>
      hostnames.has(hostname) &&
      !serials.has(serial) &&
      !known.has(serial) &&
      validTo.getTime() > nowMs,
  );
}

function report(outcome: {
  readonly listPath: string;
  readonly targets: readonly Target[];
  readonly added: readonly Target[];
  readonly others: readonly IssuedCertificate[];
}): string {
  const { listPath, targets, added, others } = outcome;
  const lines = targets.map((target) =>
    added.includes(target)
      ? `Revoked ${describe(target)}`
      : `${describe(target)} is on the list already`,
  );
  const next =
    added.length === 0
      ? []
      : [
          `It takes effect on each node once ${listPath} is there, where security.revoked names it.`,
        ];
  const hints = others.map(
    (one) =>
      `Another one of ${one.hostname} is still good: serial ${one.serial}, to ${dayOf(one.validTo)} (--hostname ${one.hostname} revokes all of them)`,
  );
  return [...lines, ...next, ...hints].map((line) => `${line}\n`).join("");
}

function describe({ hostname, serial }: Target): string {
  return hostname === undefined ? `serial ${serial}` : `${hostname} (serial ${serial})`;
}

function dayOf(date: Date): string {
  return date.toISOString().slice(0, 10);
}
