import { createPrivateKey, X509Certificate } from "node:crypto";
import type { NativeConfig, QuicheBinding } from "./binding.ts";
import type { ResolvedOptions } from "./endpoint-options.ts";
import { QuicError } from "./errors.ts";
import { DATAGRAM_COUNT_MAX } from "./path-length.ts";
import type { QuicCongestionControl, QuicTls } from "./quic.ts";
import { createSelfSigned } from "./self-signed.ts";
import { ACTIVE_ID_COUNT_MAX } from "./spare-ids.ts";

/** What TLS needs, checked: PEM texts as the binding takes them. */
export interface Credentials {
  readonly isVerifying: boolean;
  readonly caCert: Uint8Array | null;
  readonly key: Uint8Array[] | null;
  readonly cert: Uint8Array[] | null;
}

/** @throws {QuicError} `ERR_TLS_CONFIG` */
export function createCredentials(
  options: Pick<ResolvedOptions, "accept">,
  tls: QuicTls | "insecure",
): Credentials {
  if (tls !== "insecure") {
    assertKeyPair(tls);
    assertAuthorities(tls.caCert);
    return { isVerifying: true, caCert: Buffer.from(tls.caCert), ...toLists(tls) };
  }
  // Empty lists would abort the process: nothing is null.
  const pair =
    options.accept === undefined ? { key: null, cert: null } : toLists(createSelfSigned());
  return { isVerifying: false, caCert: null, ...pair };
}

/**
 * What fits four bytes of a transport parameter. The binding has 128 bytes for all of them, and with longer ones a
 * server cannot take a connection that had to come twice: after a Retry it repeats three ids of up to 20 bytes.
 */
const PARAMETER_MAX = 2 ** 30 - 1;

/**
 * Bytes that a dialler may have unread on all its streams, at least. Those of streams that came to nothing are never
 * credited: this is room for the requests of a connection's whole life.
 */
const DIALLER_WINDOW_MIN = 128 * 1024 * 1024;

/** What is fixed in a configuration, but differs by connection. */
export interface ConnectionTraits {
  readonly isDialler: boolean;
  /** Of the longest packet, in bytes. */
  readonly packetLength: number;
  readonly congestionControl: QuicCongestionControl;
}

/**
 * The binding's configuration for connections with these traits.
 *
 * Three settings design around bugs of quiche 0.18 (fixed upstream between 0.19 and 0.29). Connection credit collapses
 * to 48 KiB once the first window is used, and bytes of cancelled streams are never credited: so where we have dialled,
 * and the bytes come from those who were asked for them, the connection window is unlimited, and streams alone bound
 * memory; where we were dialled the first window is large enough for all requests. An abandoned stream can keep its
 * credit for good: so there is credit for as many as a connection may see in its life, beside those that are open,
 * which are counted in `QuicheConnection`. It sees those alone on which something has come; the binding keeps what
 * came out of order, and streams on which nothing came at all.
 */
export function createNativeConfig(
  quiche: QuicheBinding,
  credentials: Credentials,
  options: ResolvedOptions,
  { isDialler, packetLength, congestionControl }: ConnectionTraits,
): NativeConfig {
  const { limits } = options;
  const { streamCountMax, abandonedStreamCountMax, peerStreamWindow } = limits;
  // `Config.verifyPeer` is never called: after `withBoringSslCtx` it would weaken what was set there.
  const config = quiche.Config.withBoringSslCtx(
    credentials.isVerifying,
    false,
    credentials.caCert,
    credentials.key,
    credentials.cert,
    null,
  );
  config.setApplicationProtos([options.alpn]);
  config.grease(true);
  if (options.keyLogPath !== undefined) config.logKeys();
  if (options.earlyData) config.enableEarlyData();

  config.setCcAlgorithmName(congestionControl);
  config.enableHystart(true);
  // The binding's pacing times cannot be read from JavaScript, and ignoring them corrupts its RTT estimate.
  config.enablePacing(false);

  config.setMaxIdleTimeout(options.idleTimeoutMs);
  // Left out, which means what is meant: 65 527 bytes and 25 ms. See `PARAMETER_MAX`.
  config.setMaxRecvUdpPayloadSize(0);
  config.setMaxAckDelay(0);
  config.setMaxSendUdpPayloadSize(packetLength);
  config.enableDgram(true, DATAGRAM_COUNT_MAX, 2 * DATAGRAM_COUNT_MAX);

  config.setInitialMaxData(
    isDialler
      ? Number.MAX_SAFE_INTEGER
      : Math.max(streamCountMax * peerStreamWindow, DIALLER_WINDOW_MIN),
  );
  config.setInitialMaxStreamDataBidiLocal(Math.min(limits.streamWindow, PARAMETER_MAX));
  config.setInitialMaxStreamDataBidiRemote(Math.min(peerStreamWindow, PARAMETER_MAX));
  config.setInitialMaxStreamDataUni(0);
  config.setInitialMaxStreamsBidi(
    streamCountMax === 0 ? 0 : streamCountMax + abandonedStreamCountMax,
  );
  config.setInitialMaxStreamsUni(0);
  config.setActiveConnectionIdLimit(ACTIVE_ID_COUNT_MAX);
  config.setMaxStreamWindow(Math.max(limits.streamWindow, peerStreamWindow));
  return config;
}

function toLists(pair: { readonly key: string; readonly cert: string }): {
  readonly key: Uint8Array[];
  readonly cert: Uint8Array[];
} {
  return { key: [Buffer.from(pair.key)], cert: [Buffer.from(pair.cert)] };
}

/** The binding takes garbage in silence and fails at the first handshake: so everything is parsed here first. */
function assertKeyPair(pair: { readonly cert: string; readonly key: string }): void {
  const leaf = parseCertificate(pair.cert, "the certificate");
  let matches: boolean;
  try {
    matches = leaf.checkPrivateKey(createPrivateKey(pair.key));
  } catch (cause) {
    throw new QuicError("ERR_TLS_CONFIG", "Cannot use TLS: the private key is not readable PEM", {
      cause,
    });
  }
  if (!matches) {
    throw new QuicError(
      "ERR_TLS_CONFIG",
      `Cannot use TLS: the private key is not that of certificate ${leaf.subject.replaceAll("\n", ", ")}`,
    );
  }
}

function assertAuthorities(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) {
    throw new QuicError("ERR_TLS_CONFIG", "Cannot use TLS: caCert holds no PEM certificate");
  }
  for (const block of blocks) parseCertificate(block, "a certificate in caCert");
}

function parseCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new QuicError("ERR_TLS_CONFIG", `Cannot use TLS: ${what} is not readable PEM`, { cause });
  }
}
