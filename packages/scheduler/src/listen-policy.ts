import { isIP } from "node:net";
import { openTlsFiles, type TlsFiles, type TlsFilesLogger } from "@damselfly/settings";
import type { TlsSource } from "@damselfly/transport";
import type { SchedulerSettings } from "./settings.ts";

/** Whom this scheduler serves, where, and how it is protected. */
export interface ListenPolicy extends AsyncDisposable {
  readonly listenIp: string;
  /** For those who dial it; undefined: plain. */
  readonly tls: TlsSource | undefined;
  /** Callers without a certificate are served too, and their seeds asked without TLS. Always so where `tls` is not. */
  readonly plainPeers: boolean;
  /** For calls to seeds; undefined: plain. */
  readonly seedTls: TlsSource | undefined;
  /** One sentence each, to be logged at every start. */
  readonly warnings: readonly string[];
  /** What the certificates come from. Disposing stops looking at them. */
  readonly files: TlsFiles;
}

/**
 * Without certificates a scheduler serves its own machine only, unless `security.insecure` says otherwise. With them it
 * speaks mutual TLS; with `security.plainPeers` also plain, on the same port, as Dragonfly's daemons do. The certificates
 * are looked at again while it runs.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` if a section is half given or its files do not fit
 */
export async function openListenPolicy(
  settings: SchedulerSettings,
  logger: TlsFilesLogger,
): Promise<ListenPolicy> {
  const { security, server, seedPeer } = settings;
  const files = await openTlsFiles({
    sections: [
      { name: "security", paths: security, uses: ["server", "client"] },
      { name: "server.tls", paths: server.tls, uses: ["server"] },
      { name: "seedPeer.tls", paths: seedPeer.tls, uses: ["client"] },
    ],
    revoked: { path: security.revoked, setting: "security.revoked" },
    intervalMs: security.reloadInterval,
    logger,
  });
  return {
    ...policyOf(settings, files),
    files,
    [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
  };
}

function policyOf(
  { security, server }: SchedulerSettings,
  files: TlsFiles,
): Omit<ListenPolicy, "files" | keyof AsyncDisposable> {
  const common = files.source("security");
  const tls = files.source("server.tls") ?? common;
  const seedTls = files.source("seedPeer.tls") ?? common;
  const listenIp = server.listenIP;
  if (tls !== undefined) {
    const warnings = [
      ...(security.insecure ? ["security.insecure has no effect: certificates are given"] : []),
      ...(security.plainPeers
        ? [
            "security.plainPeers: daemons without a certificate, as Dragonfly's are, are served without TLS and unchecked",
          ]
        : []),
    ];
    return { listenIp, tls, plainPeers: security.plainPeers, seedTls, warnings };
  }
  if (security.insecure) {
    const warning = `security.insecure: everybody who reaches ${listenIp} is served, without TLS and unchecked`;
    const warnings = isLoopback(listenIp) ? [] : [warning];
    return { listenIp, tls, plainPeers: true, seedTls, warnings };
  }
  const loopback = isLoopback(listenIp) ? listenIp : "127.0.0.1";
  const warning =
    `no certificates are given: only this machine is served, on ${loopback}; ` +
    "give security.caCert, cert and key (see dfdaemon certs), or set security.insecure, to serve others";
  return { listenIp: loopback, tls, plainPeers: true, seedTls, warnings: [warning] };
}

/** RFC 1122, section 3.2.1.3, and RFC 4291, section 2.5.3. */
function isLoopback(ip: string): boolean {
  return ip === "::1" || (isIP(ip) === 4 && ip.startsWith("127."));
}
