import type { NativeConnection } from "./binding.ts";
import type { QuicLogger } from "./quic.ts";

/** Has the TLS secrets of a connection written to a file; one that cannot be written is no reason not to connect. */
export function logKeys(
  native: NativeConnection,
  options: { readonly keyLogPath?: string | undefined; readonly logger?: QuicLogger | undefined },
): void {
  const { keyLogPath, logger } = options;
  if (keyLogPath === undefined) return;
  try {
    native.setKeylog(keyLogPath);
  } catch (error) {
    logger?.warn({ err: error, keyLogPath }, "Cannot write the TLS secrets of a QUIC connection");
  }
}
