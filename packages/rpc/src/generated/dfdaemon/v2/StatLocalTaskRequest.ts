// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface StatLocalTaskRequest {
  'taskId'?: (string) | undefined;
  'remoteIp'?: (string) | undefined;
}

export interface StatLocalTaskRequest__Output {
  'taskId': (string);
  'remoteIp'?: (string);
  '_remoteIp'?: "remoteIp";
}
