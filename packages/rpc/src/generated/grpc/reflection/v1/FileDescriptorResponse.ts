// Original file: proto/grpc/reflection/v1/reflection.proto


export interface FileDescriptorResponse {
  /**
   * A google.protobuf.FileDescriptorProto each: the file, and those that it needs.
   */
  'fileDescriptorProto'?: (Uint8Array)[] | undefined;
}

export interface FileDescriptorResponse__Output {
  /**
   * A google.protobuf.FileDescriptorProto each: the file, and those that it needs.
   */
  'fileDescriptorProto': (Buffer)[];
}
