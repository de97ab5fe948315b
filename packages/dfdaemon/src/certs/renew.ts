import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseRevocationList } from "@damselfly/settings";
import { formatSerial, NODE_CERTIFICATE_NAME } from "@damselfly/transport";
import { messageOf } from "../message-of.ts";
import { factsOf } from "./certificate-facts.ts";
import {
  issueCertificate,
  reissueCertificate,
  type Authority,
  type NodeNames,
} from "./certificates.ts";
import { type CertsFlags, CertsUsageError } from "./certs-flags.ts";
import { replaceFile } from "./create-file.ts";
import { noteIssued } from "./issued-list.ts";
import {
  keyPathOf,
  pathsOf,
  readAuthority,
  readCertificate,
  replacePair,
  type PairPaths,
} from "./node-files.ts";
import { listPathIn } from "./revoke.ts";

/**
 * `certs renew`: other certificates for the same nodes, in the place of theirs.
 *
 * @returns what to print
 * @throws {CertsUsageError | Error} naming the file; those before it are renewed then
 */
export async function renew(flags: CertsFlags, write: (text: string) => void): Promise<void> {
  if (flags.paths.length === 0)
    throw new CertsUsageError("Cannot renew: no file is given, expected those of certificates");
  if (flags.key !== undefined && (flags.keepKey || flags.paths.length > 1))
    throw new CertsUsageError("Cannot use --key: it is for one certificate, without --keep-key");
  const authority = await readAuthority(pathsOf(join(flags.dir, "ca")));
  for (const path of flags.paths) {
    try {
      write(await renewOne(path, { authority, flags }));
    } catch (cause) {
      if (cause instanceof CertsUsageError) throw cause;
      throw new Error(`Cannot renew ${path}: ${messageOf(cause)}`, { cause });
    }
  }
}

async function renewOne(
  path: string,
  { authority, flags }: { readonly authority: Authority; readonly flags: CertsFlags },
): Promise<string> {
  const { dir, days, keepKey } = flags;
  const { pem: formerCert, certificate: former } = await readCertificate(path);
  if (former.ca)
    throw new Error(
      "it is an authority's: dfdaemon certs init makes another, in another directory",
    );
  const names = await nodeNamesOf(formerCert);
  const serial = formatSerial(former.serialNumber);
  const validity = days === undefined ? {} : { days };
  if (keepKey) await assertNotRevoked(serial, flags.list ?? listPathIn(dir));

  let cert: string;
  if (keepKey) {
    cert = await reissueCertificate(authority, { ...names, ...validity, formerCert });
    await noteIssued(dir, cert, names.hostname);
    await replaceFile(path, cert);
  } else {
    const paths = pairOf(path, flags.key);
    const made = await issueCertificate(authority, { ...names, ...validity });
    ({ cert } = made);
    await noteIssued(dir, cert, names.hostname);
    await replacePair(paths, made);
  }
  const { validTo, serialNumber } = new X509Certificate(cert);
  const isOtherAuthority = !former.checkIssued(new X509Certificate(authority.cert));
  return `Renewed ${path} for ${names.hostname}, valid to ${validTo}, ${keepKey ? "for the same key" : "with a new key"}
serial ${formatSerial(serialNumber)}${isOtherAuthority ? ", by another authority than before" : ""}
The former one (serial ${serial}) is good to ${former.validTo} all the same, unless it is revoked.
`;
}

function pairOf(cert: string, given: string | undefined): PairPaths {
  const key = given ?? keyPathOf(cert);
  if (key === undefined)
    throw new CertsUsageError(
      `Cannot renew ${cert}: where its key is does not follow from its name, give --key FILE`,
    );
  if (!existsSync(key))
    throw new Error(
      `its key is not at ${key}: give --key FILE, or --keep-key for a certificate for the same key`,
    );
  return { cert, key };
}

/** What a certificate names, to be named again. */
async function nodeNamesOf(pem: string): Promise<NodeNames> {
  const { subject, names } = await factsOf(pem);
  if (names.other.length > 0)
    throw new Error(
      `it names ${names.other.join(", ")}, which this command cannot put into another: renew it where it was made`,
    );
  const dnsNames = names.dns.filter((name) => name !== NODE_CERTIFICATE_NAME);
  const [, commonName] = /(?:^|, )CN=([^,]*)/.exec(subject) ?? [];
  const hostname = dnsNames.find((name) => name === commonName) ?? dnsNames[0];
  if (hostname === undefined)
    throw new Error("it names no host, expected one that dfdaemon certs issue has made");
  return { hostname, ips: names.ip, dnsNames };
}

/** Whoever the certificate was revoked for may have the key. */
async function assertNotRevoked(serial: string, listPath: string): Promise<void> {
  if (!existsSync(listPath)) return;
  const serials = parseRevocationList(await readFile(listPath, "utf8"));
  if (!serials.includes(serial)) return;
  throw new Error(
    `it is revoked by ${basename(listPath)}, and its key may be in other hands: renew it without --keep-key`,
  );
}
