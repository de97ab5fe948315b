import { isIP } from "node:net";
import type {
  QuicAddress,
  QuicCongestionControl,
  QuicEndpointOptions,
  QuicLimits,
} from "./quic.ts";
import { assertCongestionControl } from "./wish.ts";

/** Options with every default filled in and every number checked: the binding aborts the process on some bad ones. */
export interface ResolvedOptions extends QuicEndpointOptions {
  readonly serverName: string;
  readonly limits: QuicLimits;
  readonly idleTimeoutMs: number;
  readonly deadAfterMs: number;
  readonly packetLength: number | "auto";
  readonly congestionControl: QuicCongestionControl | "auto";
  readonly earlyData: boolean;
  readonly bufferLength: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_QUIC_LIMITS: QuicLimits = {
  connectionCountMax: 1000,
  streamCountMax: 1024,
  abandonedStreamCountMax: 20_000,
  earlyStreamCountMax: 16,
  halfOpenCountMax: 1024,
  retryHalfOpenCount: 128,
  halfOpenPerAddressMax: 512,
  handshakesPerSecondMax: 500,
  streamWindow: 8 * MIB + 64 * 1024,
  peerStreamWindow: 64 * 1024,
};

/** QUIC's own minimum (RFC 9000, section 14). */
export const PACKET_LENGTH_MIN = 1200;
/** The binding writes no longer packet, whatever it is given. */
export const PACKET_LENGTH_MAX = 16_383;

/** @throws {RangeError} naming the option that is out of bounds */
export function resolveOptions(options: QuicEndpointOptions): ResolvedOptions {
  assertAddress(options.address, "address");
  const limits = { ...DEFAULT_QUIC_LIMITS, ...options.limits };
  const resolved: ResolvedOptions = {
    ...options,
    serverName: options.serverName ?? "d7y",
    limits,
    idleTimeoutMs: options.idleTimeoutMs ?? 30_000,
    deadAfterMs: options.deadAfterMs ?? 15_000,
    packetLength: options.packetLength ?? "auto",
    congestionControl: options.congestionControl ?? "auto",
    earlyData: options.earlyData ?? false,
    bufferLength: options.bufferLength ?? 4 * MIB,
  };
  assertInteger("connectionCountMax", limits.connectionCountMax, 1, 1_000_000);
  assertInteger("streamCountMax", limits.streamCountMax, 0, 1_000_000);
  assertInteger("abandonedStreamCountMax", limits.abandonedStreamCountMax, 0, 1_000_000);
  assertInteger("earlyStreamCountMax", limits.earlyStreamCountMax, 0, 1_000_000);
  assertInteger("halfOpenCountMax", limits.halfOpenCountMax, 1, 1_000_000);
  assertInteger("retryHalfOpenCount", limits.retryHalfOpenCount, 0, 1_000_000);
  assertInteger("halfOpenPerAddressMax", limits.halfOpenPerAddressMax, 1, 1_000_000);
  assertInteger("handshakesPerSecondMax", limits.handshakesPerSecondMax, 1, 1_000_000);
  assertInteger("streamWindow", limits.streamWindow, 1, 1024 * MIB);
  assertInteger("peerStreamWindow", limits.peerStreamWindow, 1, 1024 * MIB);
  assertInteger("idleTimeoutMs", resolved.idleTimeoutMs, 1, 86_400_000);
  assertInteger("deadAfterMs", resolved.deadAfterMs, 1, 86_400_000);
  if (resolved.packetLength !== "auto") {
    assertInteger("packetLength", resolved.packetLength, PACKET_LENGTH_MIN, PACKET_LENGTH_MAX);
  }
  assertInteger("bufferLength", resolved.bufferLength, 1, 1024 * MIB);
  if (resolved.congestionControl !== "auto") assertCongestionControl(resolved.congestionControl);
  // Any other count makes the binding refuse it, when it is too late to say so.
  if (options.ticketKey !== undefined)
    assertInteger("ticketKey.byteLength", options.ticketKey.byteLength, 48, 48);
  if (options.resetKey !== undefined) {
    assertInteger("resetKey.byteLength", options.resetKey.byteLength, 16, 1024);
  }
  assertServerName(resolved.serverName);
  const protocolLength = Buffer.byteLength(options.alpn);
  if (protocolLength === 0 || protocolLength > 255) {
    throw new RangeError(
      `Cannot open QUIC endpoint: alpn is ${protocolLength} bytes, 1 to 255 are needed`,
    );
  }
  return resolved;
}

/** @throws {RangeError} unless it is an IP literal, without a zone, and a port */
export function assertAddress(address: QuicAddress, name: string): void {
  if (isIP(address.ip) === 0) {
    throw new RangeError(
      `Cannot use ${name} ${JSON.stringify(address.ip)}: an IP literal is needed`,
    );
  }
  assertInteger(`${name}.port`, address.port, 0, 65_535);
}

/** @throws {RangeError} unless it can be the name in a certificate: the binding fails on others, or takes a part */
export function assertServerName(name: string): void {
  if (!/^[!-~]{1,255}$/.test(name)) {
    throw new RangeError(
      `Cannot use serverName ${JSON.stringify(name)}: 1 to 255 printable ASCII characters are needed`,
    );
  }
}

/** @throws {RangeError} unless `value` is an integer from `min` to `max` */
export function assertInteger(name: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot use ${name} ${value}: an integer from ${min} to ${max} is needed`);
  }
}
