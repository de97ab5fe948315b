// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface ListLocalTasksRequest {
  'remoteIp'?: (string) | undefined;
}

export interface ListLocalTasksRequest__Output {
  'remoteIp'?: (string);
  '_remoteIp'?: "remoteIp";
}
