import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { formatSerial, type TlsIdentity } from "@damselfly/transport";
import { SettingsError } from "./errors.ts";
import { maySign } from "./key-usage.ts";

/** Paths of PEM files, as a section of the settings gives them. Empty counts as absent. */
export interface TlsPaths {
  /** The certificate authorities to trust, one or several in one file. */
  readonly caCert?: string | undefined;
  /** The node's certificate, its chain behind it. */
  readonly cert?: string | undefined;
  /**
   * The private key of the first certificate in `cert`; not encrypted. With several in the file the one that fits counts,
   * so that a certificate can be replaced under another key without a moment in which the two files do not fit.
   */
  readonly key?: string | undefined;
}

/** What a certificate is shown for: to those who dial this node, or to those it dials. */
export type CertificateUse = "server" | "client";

export interface TlsIdentityOptions {
  /** The section the paths come from, as in `security`; messages name it. */
  readonly name: string;
  /** Default both. */
  readonly uses?: readonly CertificateUse[] | undefined;
  /** Unix milliseconds that the certificates must be valid at; now unless given. */
  readonly nowMs?: number | undefined;
  /** Serial numbers of certificates that are trusted no more, and where they are listed. */
  readonly revoked?:
    | { readonly serials: readonly string[]; readonly path: string; readonly setting: string }
    | undefined;
}

/**
 * Reads and checks the three files of a TLS identity: all of them or none. Undefined when none is given.
 *
 * Everything that would otherwise show as a failed handshake much later is found here: files that are missing or no PEM,
 * certificates out of date, revoked or not for what they are to be shown for, a key that is not the certificate's.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` naming the missing key or the file at fault
 */
export async function loadTlsIdentity(
  paths: TlsPaths,
  options: TlsIdentityOptions,
): Promise<TlsIdentity | undefined> {
  const { name, uses = ["server", "client"], nowMs = Date.now(), revoked } = options;
  const given = KEYS.filter((key) => (paths[key] ?? "") !== "");
  if (given.length === 0) return undefined;
  const missing = KEYS.filter((key) => !given.includes(key));
  if (missing.length > 0) {
    throw refusal(
      `${name}.${missing.join(` and ${name}.`)} ${missing.length > 1 ? "are" : "is"} missing, ` +
        `expected all of ${KEYS.map((key) => `${name}.${key}`).join(", ")} or none`,
    );
  }

  const { caCert, cert, key } = await readTexts(paths, name);
  assertAuthorities(caCert, nowMs);
  const chain = parseCertificates(cert);
  assertChain(chain, cert, { nowMs, revoked });
  const leaf = chain[0]!;
  assertUses(leaf, cert, uses);
  const identity = { caCert: caCert.text, cert: cert.text, key: keyOf(leaf, key, cert) };
  assertUsable(identity, cert);
  return revoked === undefined ? identity : { ...identity, revoked: revoked.serials };
}

const KEYS = ["caCert", "cert", "key"] as const;

/** A file's text and what to call it. */
interface PemFile {
  readonly setting: string;
  readonly path: string;
  readonly text: string;
}

/** More than anybody replaces files while they are read. */
const READ_COUNT_MAX = 5;

/**
 * Who replaces a certificate and its key has the key file hold both keys until the certificate is the new one: so a key
 * that was read while the certificate was the same has the one for it.
 */
async function readTexts(
  paths: TlsPaths,
  name: string,
): Promise<Readonly<Record<(typeof KEYS)[number], PemFile>>> {
  const read = (one: (typeof KEYS)[number]): Promise<PemFile> =>
    readText(name, one, paths[one] ?? "");
  const caCert = await read("caCert");
  let cert = await read("cert");
  for (let count = 1; ; count++) {
    const key = await read("key");
    const again = await read("cert");
    if (again.text === cert.text || count === READ_COUNT_MAX) return { caCert, cert: again, key };
    cert = again;
  }
}

async function readText(name: string, key: string, path: string): Promise<PemFile> {
  const setting = `${name}.${key}`;
  try {
    return { setting, path, text: await readFile(path, "utf8") };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw refusal(`${path} (${setting}) cannot be read: ${why}`, { cause });
  }
}

/** An authority that has expired may lie beside its successor: one that is valid is enough. */
function assertAuthorities(file: PemFile, nowMs: number): void {
  const problems = parseCertificates(file).map((one) => problemOf(one, nowMs));
  const [first] = problems;
  if (first !== undefined && problems.every((problem) => problem !== undefined))
    throw refusal(`the certificate in ${describe(file)} ${first}`);
}

function assertChain(
  chain: readonly X509Certificate[],
  file: PemFile,
  { nowMs, revoked }: Pick<TlsIdentityOptions, "revoked"> & { readonly nowMs: number },
): void {
  const serials = new Set(revoked?.serials);
  for (const certificate of chain) {
    const problem = problemOf(certificate, nowMs);
    if (problem !== undefined) throw refusal(`the certificate in ${describe(file)} ${problem}`);
    const serial = formatSerial(certificate.serialNumber);
    if (revoked !== undefined && serials.has(serial)) {
      throw refusal(
        `the certificate in ${describe(file)} is revoked: its serial number ${serial} stands in ${revoked.path} (${revoked.setting})`,
      );
    }
  }
}

/** RFC 5280, section 4.2.1.12. A certificate that does not say what it is for is for everything. */
const USES: Readonly<Record<CertificateUse, { readonly oid: string; readonly name: string }>> = {
  server: { oid: "1.3.6.1.5.5.7.3.1", name: "serverAuth" },
  client: { oid: "1.3.6.1.5.5.7.3.2", name: "clientAuth" },
};
const ANY_USE = "2.5.29.37.0";

function assertUses(leaf: X509Certificate, file: PemFile, uses: readonly CertificateUse[]): void {
  const allowed: readonly string[] | undefined = leaf.keyUsage;
  const missing = uses.filter(
    (use) =>
      allowed !== undefined && !allowed.includes(USES[use].oid) && !allowed.includes(ANY_USE),
  );
  if (missing.length > 0) {
    const names = missing.map((use) => USES[use].name).join(" and ");
    const wanted = uses.map((use) => `${use}s`).join(" and ");
    throw refusal(
      `the certificate in ${describe(file)} is not for this use: its extended key usage lacks ${names}, expected one for ${wanted}`,
    );
  }
  if (!maySign(leaf)) {
    throw refusal(
      `the certificate in ${describe(file)} is not for TLS: its key usage lacks digitalSignature`,
    );
  }
}

/** The key that is the certificate's, of those in the file. */
function keyOf(leaf: X509Certificate, file: PemFile, cert: PemFile): string {
  const blocks = file.text.match(PRIVATE_KEY) ?? [];
  // What is not cut out as a block is still tried: its refusal says what is wrong.
  const texts = blocks.length > 1 ? blocks.map((block) => `${block}\n`) : [file.text];
  const fitting = texts.find((text) => leaf.checkPrivateKey(parseKey(text, file)));
  if (fitting !== undefined) return fitting;
  throw refusal(
    `${describe(file)} is not the key of the certificate in ${cert.path}, expected the one it was issued for`,
  );
}

const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g;

/** What only OpenSSL knows: keys that are too short, algorithms that it does not take. */
function assertUsable({ caCert, cert, key }: TlsIdentity, file: PemFile): void {
  try {
    createSecureContext({ ca: caCert, cert, key });
  } catch (error) {
    // Without the cause: it could quote what it was given.
    const why = error instanceof Error && "code" in error ? String(error.code) : "TLS refuses it";
    throw refusal(`the certificate in ${describe(file)} cannot be used: ${why}`);
  }
}

/** At least one. */
function parseCertificates(file: PemFile): X509Certificate[] {
  const blocks = file.text.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) {
    throw refusal(
      `${describe(file)} holds no certificate, expected PEM with -----BEGIN CERTIFICATE-----`,
    );
  }
  // OpenSSL takes the others: whoever is below the one that is missing would be refused from then on.
  const begunCount = file.text.match(CERTIFICATE_BEGIN)?.length ?? 0;
  if (begunCount !== blocks.length) {
    throw refusal(
      `${describe(file)} is cut short: certificates that begin in it: ${begunCount}, that are whole: ${blocks.length}`,
    );
  }
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw refusal(`${describe(file)} holds a certificate that cannot be read`, { cause });
    }
  });
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
/** The whole line, or a part of one that the text ends with. */
const CERTIFICATE_BEGIN = /-----BEGIN CERTIFICATE-----|-----B[A-Z ]*-{0,4}$/g;

function problemOf(certificate: X509Certificate, nowMs: number): string | undefined {
  const now = `it is now ${new Date(nowMs).toISOString()}`;
  if (Date.parse(certificate.validTo) < nowMs) return `expired on ${certificate.validTo}, ${now}`;
  if (Date.parse(certificate.validFrom) > nowMs)
    return `is not valid before ${certificate.validFrom}, ${now}`;
  return undefined;
}

/** The cause is left out: OpenSSL's errors could quote what they were given. */
function parseKey(text: string, file: PemFile): KeyObject {
  if (/-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED/.test(text))
    throw refusal(`${describe(file)} is encrypted, expected a key without a passphrase`);
  try {
    return createPrivateKey(text);
  } catch {
    throw refusal(`${describe(file)} holds no private key that can be read, expected PEM`);
  }
}

function describe(file: PemFile): string {
  return `${file.path} (${file.setting})`;
}

function refusal(problem: string, options?: ErrorOptions): SettingsError {
  return new SettingsError("ERR_SETTINGS_TLS", `Cannot use TLS: ${problem}`, options);
}
