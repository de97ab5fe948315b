/**
 * What a server of a few texts takes from those who ask. Times in milliseconds. An address is an IPv4 address or an IPv6 /64 network.
 */
export interface HttpLimits {
  /** Connections at once. For one more the one that has been without a request for longest is closed; where all have one, itself. */
  readonly connectionCountMax: number;
  /** Of them, from one address. */
  readonly connectionsPerAddressMax: number;
  /** Requests in a second, from one address, and twice as many at once. Further ones are answered 429. */
  readonly requestsPerSecondMax: number;
  /** Of a request, in bytes. Beyond it is answered 431. */
  readonly headerLengthMax: number;
  /** From a connection's beginning, or a request's first byte, to the end of the request. Then it is answered 408 and closed. */
  readonly requestMs: number;
  /** Between two requests on a connection. */
  readonly idleMs: number;
  /** Without a byte that goes either way. */
  readonly stallMs: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  // Whoever asks, asks every few seconds: a probe, a collector, a person.
  connectionCountMax: 256,
  connectionsPerAddressMax: 128,
  requestsPerSecondMax: 50,
  headerLengthMax: 8 * 1024,
  requestMs: 10_000,
  idleMs: 5_000,
  stallMs: 30_000,
};
