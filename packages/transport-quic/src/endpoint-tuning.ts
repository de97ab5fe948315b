import { openQuicEndpoint, type QuicEndpoint, type QuicEndpointOptions } from "@damselfly/quic";

/** No endpoint takes a longer idle timeout: what somebody has set beyond it means as long as can be. A day, in milliseconds. */
export const IDLE_MS_MAX = 86_400_000;

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
