import { type ResolvedOptions, assertInteger } from "@damselfly/quic";
import type { NativeConfig, QuinnBinding } from "./binding.ts";
import type { QuinnIdentity } from "./identity.ts";

const MIB = 1024 * 1024;
/** Some 49 days: the keep-alive is ours, for only we know when a connection is wanted. */
const NEVER_MS = 2 ** 32 - 1;
/** The native layer aborts the process where the kernel refuses a size; other kernels than Linux do. */
const BUFFER_LENGTH_MAX = process.platform === "linux" ? 256 * MIB : MIB;
const CONNECTION_WINDOW = 128 * MIB;

/** @throws {RangeError} naming the option that is out of bounds */
export function createNativeConfig(
  quinn: QuinnBinding,
  init: {
    readonly options: ResolvedOptions;
    readonly identity: QuinnIdentity;
    readonly role: "dial" | "accept";
    readonly connectionWindow: number | undefined;
  },
): NativeConfig {
  const { options, identity, role, connectionWindow = CONNECTION_WINDOW } = init;
  const { streamWindow, peerStreamWindow, streamCountMax } = options.limits;
  assertInteger("connectionWindow", connectionWindow, 1, 2 ** 32 - 1);
  const bufferLength = Math.min(options.bufferLength, BUFFER_LENGTH_MAX);
  return new quinn.QuinnConfig({
    handshakeTimeout: 0,
    maxIdleTimeout: options.idleTimeoutMs,
    keepAliveInterval: NEVER_MS,
    // One more for the control stream, which the dialling side opens.
    maxConcurrentStreamLimit: streamCountMax + (role === "accept" ? 1 : 0),
    // There is one window for all streams: who dials opens most of them, who is dialled takes most of them in.
    maxStreamData: role === "dial" ? streamWindow : peerStreamWindow,
    maxConnectionData: connectionWindow,
    receiveBufferSize: bufferLength,
    sendBufferSize: bufferLength,
    privateKeyProto: identity.privateKey,
  });
}
