import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { messageOf } from "../message-of.ts";
import type { Authority, CertificateAndKey } from "./certificates.ts";
import { createFile, replaceFile } from "./create-file.ts";

/** Where a certificate and its key lie. */
export interface PairPaths {
  readonly cert: string;
  readonly key: string;
}

const CERT_SUFFIX = ".pem";
const KEY_SUFFIX = "-key.pem";

/** Of a node, `PREFIX.pem` and `PREFIX-key.pem`; of an authority with `DIR/ca` for a prefix. */
export function pathsOf(prefix: string): PairPaths {
  return { cert: `${prefix}${CERT_SUFFIX}`, key: `${prefix}${KEY_SUFFIX}` };
}

/** Where the key of a certificate file lies unless it is said; undefined: the file's name does not tell. */
export function keyPathOf(certPath: string): string | undefined {
  if (certPath.endsWith(KEY_SUFFIX) || !certPath.endsWith(CERT_SUFFIX)) return undefined;
  return `${certPath.slice(0, -CERT_SUFFIX.length)}${KEY_SUFFIX}`;
}

/** @throws {Error} saying what would make one */
export async function readAuthority(paths: PairPaths): Promise<Authority> {
  try {
    const [cert, key] = await Promise.all([
      readFile(paths.cert, "utf8"),
      readFile(paths.key, "utf8"),
    ]);
    return { cert, key };
  } catch (cause) {
    const why = messageOf(cause);
    throw new Error(`Cannot read the authority: ${why}; dfdaemon certs init makes one`, { cause });
  }
}

/** @throws {Error} naming the file, unless it holds a certificate; of several the first counts */
export async function readCertificate(
  path: string,
): Promise<{ readonly pem: string; readonly certificate: X509Certificate }> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new Error(`Cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  const [pem] = text.match(CERTIFICATE) ?? [];
  if (pem === undefined)
    throw new Error(
      `Cannot read ${path}: it holds no certificate, expected PEM with -----BEGIN CERTIFICATE-----`,
    );
  try {
    return { pem, certificate: new X509Certificate(pem) };
  } catch (cause) {
    throw new Error(`Cannot read ${path}: its certificate cannot be read`, { cause });
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/;

/** @throws {Error} naming the file that is there */
export function assertAbsent(paths: PairPaths): void {
  for (const path of [paths.key, paths.cert]) {
    if (existsSync(path))
      throw new Error(`Cannot write ${path}: it is there already, give --force to replace it`);
  }
}

/** The key first: a certificate without its key would be in the way of the next try. */
export async function writePair(
  paths: PairPaths,
  made: CertificateAndKey,
  { replace }: { readonly replace: boolean },
): Promise<void> {
  if (!replace) assertAbsent(paths);
  await createFile(paths.key, made.key, { mode: 0o600, replace });
  await createFile(paths.cert, made.cert, { mode: 0o644, replace });
}

/**
 * Puts a certificate and its key in place of others. Two files cannot be replaced in one step, and a daemon may read them
 * between any two: so the key file holds both keys until the certificate is the new one. The daemon takes of several keys
 * the one that is the certificate's, and finds a pair that fits at every moment, also if this ends halfway.
 */
export async function replacePair(paths: PairPaths, made: CertificateAndKey): Promise<void> {
  const former = await readFile(paths.key, "utf8");
  await replaceFile(paths.key, `${former.trimEnd()}\n${made.key}`);
  await replaceFile(paths.cert, made.cert);
  await replaceFile(paths.key, made.key);
}
