import { isIP } from "node:net";
import { loadTlsIdentity } from "@damselfly/settings";
import type { TlsIdentity } from "@damselfly/transport";
import type { SchedulerSettings } from "./settings.ts";

/** Whom this scheduler serves, where, and how it is protected. */
export interface ListenPolicy {
  readonly listenIp: string;
  /** For those who dial it; undefined: plain. */
  readonly tls: TlsIdentity | undefined;
  /** Callers without a certificate are served too, and their seeds asked without TLS. Always so where `tls` is not. */
  readonly plainPeers: boolean;
  /** For calls to seeds; undefined: plain. */
  readonly seedTls: TlsIdentity | undefined;
  /** One sentence each, to be logged at every start. */
  readonly warnings: readonly string[];
}

/**
 * Without certificates a scheduler serves its own machine only, unless `security.insecure` says otherwise. With them it
 * speaks mutual TLS; with `security.plainPeers` also plain, on the same port, as Dragonfly's daemons do.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` if a section is half given or its files do not fit
 */
export async function loadListenPolicy(settings: SchedulerSettings): Promise<ListenPolicy> {
  const { security, server, seedPeer } = settings;
  const common = await loadTlsIdentity(security, { name: "security" });
  const tls = (await loadTlsIdentity(server.tls, { name: "server.tls" })) ?? common;
  const seedTls = (await loadTlsIdentity(seedPeer.tls, { name: "seedPeer.tls" })) ?? common;
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
