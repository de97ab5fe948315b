import { isIP } from "node:net";
import type { Tls } from "@damselfly/transport";
import { isLoopback } from "../identity/is-loopback.ts";
import type { Config } from "./config.ts";
import { expectsDynconfig } from "./expects-dynconfig.ts";

/** Whom this daemon serves, where, and how it is protected. */
export interface ListenPolicy {
  /** For DfdaemonUpload; `0.0.0.0` or `::` for all addresses. */
  readonly bindIp: string;
  /** For the piece servers. */
  readonly pieceBindIp: string;
  /** Where others are told to reach this host. */
  readonly announceIp: string;
  /** With it every connection between our own is mutual TLS. */
  readonly tls: Tls | undefined;
  /** Peers without TLS are served, and dialled. */
  readonly plainPeers: boolean;
  /** One sentence each, to be logged at every start. */
  readonly warnings: readonly string[];
}

/**
 * Without certificates a daemon serves its own machine only, unless `security.insecure` says otherwise; with certificates
 * it serves whoever shows one, and plain peers only with `security.plainPeers`.
 */
export function listenPolicy(config: Config, tls: Tls | undefined): ListenPolicy {
  const { security } = config;
  if (tls !== undefined) {
    return {
      ...configuredAddresses(config),
      tls,
      plainPeers: security.plainPeers,
      warnings: [
        ...(security.insecure ? ["security.insecure has no effect: certificates are given"] : []),
        ...(security.plainPeers
          ? [
              "security.plainPeers: daemons without a certificate, as Dragonfly's are, are served and fetched from, without TLS and unchecked; " +
                "a scheduler is spoken to without TLS unless scheduler.caCert, cert and key are given",
            ]
          : []),
      ],
    };
  }
  if (security.insecure) {
    return {
      ...configuredAddresses(config),
      tls,
      plainPeers: true,
      warnings: [
        `security.insecure: everybody who reaches ${config.host.ip} is served, without TLS and unchecked`,
      ],
    };
  }
  const loopback =
    [config.upload.server.ip, config.host.ip].find((ip) => isLoopback(ip)) ?? "127.0.0.1";
  return {
    bindIp: loopback,
    pieceBindIp: loopback,
    announceIp: loopback,
    tls,
    plainPeers: true,
    warnings: [
      `no certificates are given: only this machine is served, on ${loopback}` +
        (isClustered(config)
          ? ", and others are told so, which makes this node useless to its cluster. To join a Dragonfly cluster without TLS set " +
            "security.insecure: true (env DFDAEMON_SECURITY_INSECURE=true); otherwise give security.caCert, cert and key, and set " +
            "security.plainPeers: true while some of its daemons have none"
          : "; give security.caCert, cert and key (see dfdaemon certs), or set security.insecure, to serve others"),
    ],
  };
}

function configuredAddresses(
  config: Config,
): Pick<ListenPolicy, "bindIp" | "pieceBindIp" | "announceIp"> {
  const bind = (ip: string): string => (ip === "0.0.0.0" && isIP(config.host.ip) === 6 ? "::" : ip);
  return {
    bindIp: bind(config.upload.server.ip),
    pieceBindIp: bind(config.storage.server.ip),
    announceIp: config.host.ip,
  };
}

/** Told of a scheduler that is not on this machine, or of somebody who knows schedulers. */
function isClustered({ scheduler, manager, dynconfig }: Config): boolean {
  if (scheduler.addrs.length === 0) return manager.addr !== "" || expectsDynconfig(dynconfig);
  return scheduler.addrs.some((address) => {
    const host = address.replace(/:\d+$/, "").replaceAll(/[[\]]/g, "");
    return host !== "localhost" && !isLoopback(host);
  });
}
