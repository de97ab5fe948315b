// Original file: proto/grpc/reflection/v1/reflection.proto


export interface ServiceResponse {
  /**
   * `package.Service`.
   */
  'name'?: (string) | undefined;
}

export interface ServiceResponse__Output {
  /**
   * `package.Service`.
   */
  'name': (string);
}
