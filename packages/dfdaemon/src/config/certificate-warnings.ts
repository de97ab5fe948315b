import { X509Certificate } from "node:crypto";
import { NODE_CERTIFICATE_NAME, type TlsSource, trustOf } from "@damselfly/transport";
import type { Config } from "./config.ts";
import type { Identities } from "./open-identities.ts";

/**
 * What is not wrong with our own certificates, and will still have others refuse them: one sentence each, to be logged at every start.
 */
export function certificateWarnings(
  config: Pick<Config, "security" | "host">,
  { server, client }: Pick<Identities, "server" | "client">,
): string[] {
  if (server === undefined && client === undefined)
    return config.security.revoked === ""
      ? []
      : ["security.revoked has no effect: no certificates are given"];
  const { hostname } = config.host;
  const sources: readonly (readonly [string, TlsSource | undefined])[] =
    server === client
      ? [["this daemon's certificate", server]]
      : [
          ["the certificate for those who dial this daemon", server],
          ["the certificate for those it dials", client],
        ];
  return sources.flatMap(([what, source]) =>
    source === undefined ? [] : warningsOf(what, source, hostname),
  );
}

function warningsOf(what: string, { current }: TlsSource, hostname: string): string[] {
  const leaf = new X509Certificate(current.cert);
  const missing = [hostname, NODE_CERTIFICATE_NAME].filter(
    (name) => leaf.checkHost(name, { subject: "never" }) === undefined,
  );
  const isOurs = trustOf(current).vouchesFor(chainOf(current.cert));
  return [
    ...(missing.length === 0
      ? []
      : [
          `${what} names ${leaf.subjectAltName ?? "nothing"} and not ${missing.join(" and ")}: other daemons refuse it (see dfdaemon certs)`,
        ]),
    ...(isOurs
      ? []
      : [
          `${what} was issued by none of the authorities that are given with it: nodes that trust the same ones refuse it`,
        ]),
  ];
}

function chainOf(pem: string): Uint8Array[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).raw);
}
