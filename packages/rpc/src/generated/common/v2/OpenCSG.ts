// Original file: proto/common/v2/common.proto


export interface OpenCSG {
  'token'?: (string) | undefined;
  'revision'?: (string) | undefined;
  'baseUrl'?: (string) | undefined;
}

export interface OpenCSG__Output {
  'token'?: (string);
  'revision': (string);
  'baseUrl'?: (string);
  '_token'?: "token";
  '_baseUrl'?: "baseUrl";
}
