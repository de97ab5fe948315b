// Original file: proto/grpc/health/v1/health.proto


export interface HealthCheckRequest {
  /**
   * Full name of a service; empty: the server as such.
   */
  'service'?: (string) | undefined;
}

export interface HealthCheckRequest__Output {
  /**
   * Full name of a service; empty: the server as such.
   */
  'service': (string);
}
