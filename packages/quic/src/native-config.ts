import { createPrivateKey, X509Certificate } from "node:crypto";
import type { NativeConfig, QuicheBinding } from "./binding.ts";
import type { ResolvedOptions } from "./endpoint-options.ts";
import { QuicError } from "./errors.ts";
import { createSelfSigned } from "./self-signed.ts";

/**
 * The binding's configuration for one endpoint; it serves both directions.
 *
 * Three settings design around bugs of quiche 0.18 (fixed upstream between 0.19 and 0.29): connection credit
 * collapses to 48 KiB once the first window is used, and bytes of cancelled streams are never credited, so the
 * connection window is unlimited and streams alone bound memory; resets with unsent data leak stream credit, so
 * that is unlimited too and the real limit is counted in `QuicheConnection`.
 *
 * @throws {QuicError} `ERR_TLS_CONFIG`
 */
export function createNativeConfig(quiche: QuicheBinding, options: ResolvedOptions): NativeConfig {
  const { limits } = options;
  const config = createTlsConfig(quiche, options);
  config.setApplicationProtos([options.alpn]);
  config.grease(true);
  if (options.keyLogPath !== undefined) config.logKeys();

  config.setCcAlgorithmName(options.congestionControl);
  config.enableHystart(true);
  // The binding's pacing times cannot be read from JavaScript, and ignoring them corrupts its RTT estimate.
  config.enablePacing(false);

  config.setMaxIdleTimeout(options.idleTimeoutMs);
  config.setMaxRecvUdpPayloadSize(65_527);
  config.setMaxSendUdpPayloadSize(options.packetLength);

  config.setInitialMaxData(Number.MAX_SAFE_INTEGER);
  config.setInitialMaxStreamDataBidiLocal(limits.streamWindow);
  config.setInitialMaxStreamDataBidiRemote(limits.peerStreamWindow);
  config.setInitialMaxStreamDataUni(0);
  config.setInitialMaxStreamsBidi(limits.streamCountMax === 0 ? 0 : 2 ** 40);
  config.setInitialMaxStreamsUni(0);
  config.setMaxStreamWindow(Math.max(limits.streamWindow, limits.peerStreamWindow));
  return config;
}

/** `Config.verifyPeer` is never called: after `withBoringSslCtx` it would weaken what was set there. */
function createTlsConfig(quiche: QuicheBinding, options: ResolvedOptions): NativeConfig {
  const { tls } = options;
  if (tls === "insecure") {
    if (options.accept === undefined) {
      return quiche.Config.withBoringSslCtx(false, false, null, null, null, null);
    }
    const { cert, key } = createSelfSigned();
    return quiche.Config.withBoringSslCtx(
      false,
      false,
      null,
      [Buffer.from(key)],
      [Buffer.from(cert)],
      null,
    );
  }
  assertKeyPair(tls);
  assertAuthorities(tls.caCert);
  return quiche.Config.withBoringSslCtx(
    true,
    false,
    Buffer.from(tls.caCert),
    [Buffer.from(tls.key)],
    [Buffer.from(tls.cert)],
    null,
  );
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
