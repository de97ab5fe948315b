// Original file: proto/damselfly/v1/extension.proto


/**
 * One way of fetching pieces from a daemon.
 */
export interface TransportOffer {
  /**
   * `quic`, `grpc` or `tcp`; others are skipped.
   */
  'protocol'?: (string) | undefined;
  /**
   * Any of them will do; several where several processes serve.
   */
  'ports'?: (number)[] | undefined;
  /**
   * True: mutual TLS only.
   */
  'tls'?: (boolean) | undefined;
}

/**
 * One way of fetching pieces from a daemon.
 */
export interface TransportOffer__Output {
  /**
   * `quic`, `grpc` or `tcp`; others are skipped.
   */
  'protocol': (string);
  /**
   * Any of them will do; several where several processes serve.
   */
  'ports': (number)[];
  /**
   * True: mutual TLS only.
   */
  'tls': (boolean);
}
