// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface DeleteTaskRequest {
  'taskId'?: (string) | undefined;
  'remoteIp'?: (string) | undefined;
}

export interface DeleteTaskRequest__Output {
  'taskId': (string);
  'remoteIp'?: (string);
  '_remoteIp'?: "remoteIp";
}
