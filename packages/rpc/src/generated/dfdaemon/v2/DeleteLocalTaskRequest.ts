// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface DeleteLocalTaskRequest {
  'taskId'?: (string) | undefined;
  'remoteIp'?: (string) | undefined;
}

export interface DeleteLocalTaskRequest__Output {
  'taskId': (string);
  'remoteIp'?: (string);
  '_remoteIp'?: "remoteIp";
}
