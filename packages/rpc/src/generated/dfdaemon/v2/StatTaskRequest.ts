// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface StatTaskRequest {
  'taskId'?: (string) | undefined;
  'remoteIp'?: (string) | undefined;
}

export interface StatTaskRequest__Output {
  'taskId': (string);
  'remoteIp'?: (string);
  '_remoteIp'?: "remoteIp";
}
