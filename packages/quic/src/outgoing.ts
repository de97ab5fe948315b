import type { HostPort, NativeConnection, QuicheBinding } from "./binding.ts";
import { assertInteger, assertServerName, type ResolvedOptions } from "./endpoint-options.ts";
import type { LengthPlan } from "./length-plan.ts";
import { logKeys } from "./log-keys.ts";
import type { NativeConfigs } from "./native-configs.ts";
import { toKey } from "./packet-header.ts";
import { PeerCheck } from "./peer-check.ts";
import type { QuicAddress, QuicDialOptions, QuicTls } from "./quic.ts";
import type { ConnectionInit } from "./quiche-connection.ts";
import { openTicket, type TicketScope } from "./ticket.ts";
import { assertCongestionControl, createSourceId } from "./wish.ts";

const DIAL_TIMEOUT_MS = 10_000;

/** What an outgoing connection needs from its endpoint. */
export interface OutgoingHost {
  readonly options: ResolvedOptions;
  /** As it is at this moment. */
  readonly tls: QuicTls | "insecure";
  readonly quiche: QuicheBinding;
  readonly configs: NativeConfigs;
  lengthsTo(ip: string): LengthPlan;
  readonly local: HostPort;
}

/**
 * Everything for a connection to `target` but the first packet.
 *
 * @throws {RangeError} for an option out of bounds
 * @throws {TypeError} for `peerKey`
 */
export function createOutgoing(
  host: OutgoingHost,
  target: QuicAddress,
  options: QuicDialOptions,
): ConnectionInit {
  const { quiche, configs, local } = host;
  const { tls } = host;
  const { alpn, earlyData, congestionControl: pinned } = host.options;
  const { timeoutMs = DIAL_TIMEOUT_MS, serverName = host.options.serverName } = options;
  assertServerName(serverName);
  const { congestionControl: wish, ticket, peerKey } = options;
  assertInteger("timeoutMs", timeoutMs, 1, 2 ** 31 - 1);
  if (wish !== undefined) assertCongestionControl(wish);
  if (peerKey !== undefined) {
    throw new TypeError("Cannot expect a key of a peer: its certificate says who it is here");
  }
  const lengths = host.lengthsTo(target.ip);
  const congestionControl = pinned === "auto" ? (wish ?? "cubic") : pinned;
  const sourceId = createSourceId(wish);
  const config = configs.get({ isDialler: true, packetLength: lengths.max, congestionControl });
  config.setStatelessResetToken(null); // a client has none (RFC 9000, section 18.2)
  const peer = { host: target.ip, port: target.port };
  const connect = (): NativeConnection =>
    quiche.Connection.connect(serverName, sourceId, local, peer, config);
  let native = connect();
  const ticketScope = earlyData ? { alpn, tls, serverName } : undefined;
  const ticketExpiresAt = resume(native, ticket, ticketScope);
  const isDistrusted = ticketExpiresAt !== undefined && !isStillTrusted(native, tls);
  // The peer may have another certificate by now: it is met as a stranger.
  if (isDistrusted) native = connect();
  logKeys(native, host.options);
  return {
    native,
    lengths,
    congestionControl,
    isDialler: true,
    remote: target,
    isRemoteProven: false,
    keys: [toKey(sourceId)],
    handshakeTimeoutMs: timeoutMs,
    ticketScope,
    ticketExpiresAt: isDistrusted ? undefined : ticketExpiresAt,
  };
}

/** When the ticket that `native` resumes with runs out, if it is given a usable one; milliseconds since 1970. */
function resume(
  native: NativeConnection,
  ticket: Uint8Array | undefined,
  scope: TicketScope | undefined,
): number | undefined {
  if (ticket === undefined || scope === undefined) return undefined;
  const opened = openTicket(ticket, scope, Date.now());
  if (opened === undefined) return undefined;
  try {
    native.setSession(opened.session);
  } catch {
    return undefined; // a session of another build of the binding, or none at all
  }
  return opened.expiresAt;
}

/** A ticket is worth the certificate that was shown for it, which may have been revoked since. */
function isStillTrusted(native: NativeConnection, tls: QuicTls | "insecure"): boolean {
  const check = new PeerCheck(native, { isDialled: true });
  check.learn(tls);
  return check.refusal(tls, { isRunning: false }) === undefined;
}
