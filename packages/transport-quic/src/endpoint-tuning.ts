import { openQuicEndpoint, type QuicEndpoint, type QuicEndpointOptions } from "@damselfly/quic";

/** What both sides hand on to their QUIC endpoint as it is; its defaults are meant for them. */
export interface EndpointTuning extends Pick<
  QuicEndpointOptions,
  "packetLength" | "congestionControl" | "keyLogPath" | "bufferLength" | "udp" | "logger"
> {
  /** Opens the endpoint; default `openQuicEndpoint`. This is where another backend comes in. */
  readonly openEndpoint?: ((options: QuicEndpointOptions) => Promise<QuicEndpoint>) | undefined;
}

export function tuningOf(options: EndpointTuning): Omit<EndpointTuning, "openEndpoint"> {
  const { packetLength, congestionControl, keyLogPath, bufferLength, udp, logger } = options;
  return { packetLength, congestionControl, keyLogPath, bufferLength, udp, logger };
}

export function openerOf({
  openEndpoint = openQuicEndpoint,
}: EndpointTuning): (options: QuicEndpointOptions) => Promise<QuicEndpoint> {
  return openEndpoint;
}
