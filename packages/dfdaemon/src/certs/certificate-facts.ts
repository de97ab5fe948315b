import { X509Certificate } from "node:crypto";
import { formatSpan } from "@damselfly/settings";
import { formatSerial } from "@damselfly/transport";
import { loadX509 } from "./x509.ts";

/** What is in a certificate, as `dfdaemon certs show --json` prints it. */
export interface CertificateFacts {
  readonly subject: string;
  /** Who has issued it; its own subject if it has itself. */
  readonly issuer: string;
  readonly isAuthority: boolean;
  readonly names: {
    readonly dns: readonly string[];
    readonly ip: readonly string[];
    /** Of other kinds, as in `url:spiffe://…`. */
    readonly other: readonly string[];
  };
  /** ISO 8601. */
  readonly validFrom: string;
  readonly validTo: string;
  /** What it may be shown for; null: it does not say, which means for everything. */
  readonly usages: readonly string[] | null;
  /** Hex, by which it is revoked. */
  readonly serial: string;
  /** Of the whole certificate, hex with colons. */
  readonly sha256: string;
}

/** @throws {TypeError} if it cannot be read */
export async function factsOf(pem: string): Promise<CertificateFacts> {
  const certificate = new X509Certificate(pem);
  const usages: readonly string[] | undefined = certificate.keyUsage;
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    isAuthority: certificate.ca,
    names: await namesIn(pem),
    validFrom: new Date(certificate.validFrom).toISOString(),
    validTo: new Date(certificate.validTo).toISOString(),
    usages: usages?.map((oid) => USAGES.get(oid) ?? oid) ?? null,
    serial: formatSerial(certificate.serialNumber),
    sha256: certificate.fingerprint256,
  };
}

/** What else is known of a certificate where it lies. */
export interface CertificateSurroundings {
  /** Undefined: there is no list. */
  readonly revocation?: { readonly isRevoked: boolean; readonly listPath: string } | undefined;
  /** Undefined: no key lies beside it. */
  readonly key?: { readonly isOwn: boolean; readonly path: string } | undefined;
}

/** For people: the file's name, then a fact a line. */
export function formatFacts(
  path: string,
  facts: CertificateFacts,
  { revocation, key }: CertificateSurroundings,
  nowMs: number,
): string {
  const { subject, issuer, names, usages } = facts;
  const { dns, ip, other } = names;
  const lines: readonly (readonly [string, string] | undefined)[] = [
    ["who", `${subject}${facts.isAuthority ? ", an authority" : ""}`],
    ["by", issuer === subject ? "itself" : issuer],
    facts.isAuthority ? undefined : ["names", [...dns, ...ip, ...other].join(", ") || "none"],
    ["valid", formatValidity(facts, nowMs)],
    facts.isAuthority ? undefined : ["for", usages?.join(" and ") ?? "everything"],
    ["serial", facts.serial],
    ["SHA-256", facts.sha256],
    key && ["key", `${key.path}, ${key.isOwn ? "its own" : "NOT ITS OWN"}`],
    revocation && [
      "revoked",
      revocation.isRevoked ? `YES, by ${revocation.listPath}` : `no (${revocation.listPath})`,
    ],
  ];
  const texts = lines.flatMap((line) =>
    line === undefined ? [] : [`  ${line[0].padEnd(9)}${line[1]}\n`],
  );
  return `${path}\n${texts.join("")}`;
}

function formatValidity({ validFrom, validTo }: CertificateFacts, nowMs: number): string {
  const range = `${validFrom} to ${validTo}`.replaceAll(".000", ""); // certificates know whole seconds
  const leftMs = Date.parse(validTo) - nowMs;
  if (leftMs < 0) return `${range}, EXPIRED ${formatSpan(leftMs)} ago`;
  const untilMs = Date.parse(validFrom) - nowMs;
  if (untilMs > 0) return `${range}, NOT YET VALID for ${formatSpan(untilMs)}`;
  return `${range}, ${formatSpan(leftMs)} left`;
}

/** RFC 5280, section 4.2.1.12. */
const USAGES: ReadonlyMap<string, string> = new Map([
  ["1.3.6.1.5.5.7.3.1", "servers"],
  ["1.3.6.1.5.5.7.3.2", "clients"],
  ["2.5.29.37.0", "everything"],
]);

async function namesIn(pem: string): Promise<CertificateFacts["names"]> {
  const { X509Certificate: Certificate, SubjectAlternativeNameExtension } = await loadX509();
  const items =
    new Certificate(pem).getExtension(SubjectAlternativeNameExtension)?.names.items ?? [];
  const of = (type: string): string[] =>
    items.filter((item) => item.type === type).map(({ value }) => printable(value));
  return {
    dns: of("dns"),
    ip: of("ip"),
    other: items
      .filter(({ type }) => type !== "dns" && type !== "ip")
      .map(({ type, value }) => printable(`${type}:${value}`)),
  };
}

function oneLine(name: string): string {
  return printable(name.replaceAll("\n", ", "));
}

/** Files may come from elsewhere: no control characters on the terminal. */
function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, "?");
}
