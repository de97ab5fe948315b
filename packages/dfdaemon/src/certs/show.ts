import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseRevocationList } from "@damselfly/settings";
import { messageOf } from "../message-of.ts";
import { type CertificateSurroundings, factsOf, formatFacts } from "./certificate-facts.ts";
import type { CertsFlags } from "./certs-flags.ts";
import { keyPathOf } from "./node-files.ts";
import { listPathIn } from "./revoke.ts";

/**
 * `certs show`: what is in certificates, those of whole directories too.
 *
 * @returns what to print
 * @throws {Error} naming the file that cannot be read, or holds no certificate
 */
export async function show({ paths, list, json }: CertsFlags, nowMs: number): Promise<string> {
  const files = (await Promise.all((paths.length === 0 ? ["."] : paths).map(filesAt))).flat();
  const shown = (await Promise.all(files.map((file) => read(file, list)))).flat();
  if (shown.length === 0)
    throw new Error(`Cannot show certificates: there are none in ${paths.join(", ") || "."}`);
  if (!json)
    return shown.map(({ path, facts, more }) => formatFacts(path, facts, more, nowMs)).join("\n");
  const entries = shown.map(({ path, facts, more }) => ({
    file: path,
    ...facts,
    expired: Date.parse(facts.validTo) < nowMs,
    revoked: more.revocation?.isRevoked ?? null,
    key: more.key === undefined ? null : more.key.isOwn ? "own" : "other",
  }));
  return `${JSON.stringify(entries, undefined, 2)}\n`;
}

interface File {
  readonly path: string;
  /** In a directory there are other files as well. */
  readonly mayBeOther: boolean;
}

async function filesAt(path: string): Promise<File[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [{ path, mayBeOther: false }];
    const names = (await readdir(path)).filter((name) => name.endsWith(".pem"));
    return names.toSorted().map((name) => ({ path: join(path, name), mayBeOther: true }));
  } catch (cause) {
    throw new Error(`Cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

interface Shown {
  readonly path: string;
  readonly facts: Awaited<ReturnType<typeof factsOf>>;
  readonly more: CertificateSurroundings;
}

async function read({ path, mayBeOther }: File, list: string | undefined): Promise<Shown[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new Error(`Cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  const blocks = text.match(CERTIFICATE) ?? [];
  if (blocks.length === 0) {
    if (mayBeOther) return [];
    throw new Error(
      `Cannot show ${path}: it holds no certificate, expected PEM with -----BEGIN CERTIFICATE-----`,
    );
  }
  const listPath = list ?? listPathIn(dirname(path));
  const revoked =
    list === undefined && !existsSync(listPath) ? undefined : await serialsIn(listPath);
  return await Promise.all(
    blocks.map(async (block, index) => {
      const name = blocks.length === 1 ? path : `${path} [${index + 1} of ${blocks.length}]`;
      try {
        const facts = await factsOf(block);
        const revocation = revoked && { isRevoked: revoked.has(facts.serial), listPath };
        // Only the first is the node's own.
        const key = index === 0 ? await keyBeside(path, block) : undefined;
        return { path: name, facts, more: { revocation, key } };
      } catch (cause) {
        throw new Error(`Cannot show ${name}: it cannot be read: ${messageOf(cause)}`, { cause });
      }
    }),
  );
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

async function serialsIn(path: string): Promise<ReadonlySet<string>> {
  try {
    return new Set(parseRevocationList(await readFile(path, "utf8")));
  } catch (cause) {
    throw new Error(`Cannot read the list ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Whether the key that lies beside a certificate is its own; undefined: none does, or it is not for us to read. */
async function keyBeside(path: string, block: string): Promise<CertificateSurroundings["key"]> {
  const keyPath = keyPathOf(path);
  if (keyPath === undefined || !existsSync(keyPath)) return undefined;
  try {
    const key = createPrivateKey(await readFile(keyPath, "utf8"));
    return { path: keyPath, isOwn: new X509Certificate(block).checkPrivateKey(key) };
  } catch {
    return undefined;
  }
}
