import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { TlsIdentity } from "@damselfly/transport";
import { SettingsError } from "./errors.ts";

/** Paths of PEM files, as a section of the settings gives them. Empty counts as absent. */
export interface TlsPaths {
  /** The certificate authorities to trust, one or several in one file. */
  readonly caCert?: string | undefined;
  /** The node's certificate, its chain behind it. */
  readonly cert?: string | undefined;
  /** The private key of the first certificate in `cert`; not encrypted. */
  readonly key?: string | undefined;
}

export interface TlsIdentityOptions {
  /** The section the paths come from, as in `security`; messages name it. */
  readonly name: string;
  /** Unix milliseconds that the certificates must be valid at; now unless given. */
  readonly nowMs?: number;
}

/**
 * Reads and checks the three files of a TLS identity: all of them or none. Undefined when none is given.
 *
 * Everything that would otherwise show as a failed handshake much later is found here: files that are missing or no PEM,
 * certificates out of date, a key that is not the certificate's.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` naming the missing key or the file at fault
 */
export async function loadTlsIdentity(
  paths: TlsPaths,
  { name, nowMs = Date.now() }: TlsIdentityOptions,
): Promise<TlsIdentity | undefined> {
  const given = KEYS.filter((key) => (paths[key] ?? "") !== "");
  if (given.length === 0) return undefined;
  const missing = KEYS.filter((key) => !given.includes(key));
  if (missing.length > 0) {
    throw refusal(
      `${name}.${missing.join(` and ${name}.`)} ${missing.length > 1 ? "are" : "is"} missing, ` +
        `expected all of ${KEYS.map((key) => `${name}.${key}`).join(", ")} or none`,
    );
  }

  const [caCert, cert, key] = await Promise.all(
    KEYS.map(async (one) => await readText(name, one, paths[one] ?? "")),
  );
  assertAuthorities(caCert!, nowMs);
  const leaf = assertChain(cert!, nowMs);
  if (!leaf.checkPrivateKey(parseKey(key!)))
    throw refusal(
      `${describe(key!)} is not the key of the certificate in ${cert!.path}, expected the one it was issued for`,
    );
  return { caCert: caCert!.text, cert: cert!.text, key: key!.text };
}

const KEYS = ["caCert", "cert", "key"] as const;

/** A file's text and what to call it. */
interface PemFile {
  readonly setting: string;
  readonly path: string;
  readonly text: string;
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

/** Returns the first certificate, the node's own. */
function assertChain(file: PemFile, nowMs: number): X509Certificate {
  const chain = parseCertificates(file);
  for (const certificate of chain) {
    const problem = problemOf(certificate, nowMs);
    if (problem !== undefined) throw refusal(`the certificate in ${describe(file)} ${problem}`);
  }
  return chain[0]!;
}

/** At least one. */
function parseCertificates(file: PemFile): X509Certificate[] {
  const blocks = file.text.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) {
    throw refusal(
      `${describe(file)} holds no certificate, expected PEM with -----BEGIN CERTIFICATE-----`,
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

function problemOf(certificate: X509Certificate, nowMs: number): string | undefined {
  const now = `it is now ${new Date(nowMs).toISOString()}`;
  if (Date.parse(certificate.validTo) < nowMs) return `expired on ${certificate.validTo}, ${now}`;
  if (Date.parse(certificate.validFrom) > nowMs)
    return `is not valid before ${certificate.validFrom}, ${now}`;
  return undefined;
}

/** The cause is left out: OpenSSL's errors could quote what they were given. */
function parseKey(file: PemFile): KeyObject {
  if (/-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED/.test(file.text))
    throw refusal(`${describe(file)} is encrypted, expected a key without a passphrase`);
  try {
    return createPrivateKey(file.text);
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
