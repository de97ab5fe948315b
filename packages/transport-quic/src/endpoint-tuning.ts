import type { QuicEndpointOptions } from "@damselfly/quic";

/** What both sides hand on to their QUIC endpoint as it is; its defaults are meant for them. */
export type EndpointTuning = Pick<
  QuicEndpointOptions,
  "packetLength" | "congestionControl" | "keyLogPath" | "bufferLength" | "udp" | "logger"
>;

export function tuningOf(options: EndpointTuning): EndpointTuning {
  const { packetLength, congestionControl, keyLogPath, bufferLength, udp, logger } = options;
  return { packetLength, congestionControl, keyLogPath, bufferLength, udp, logger };
}
