// Original file: proto/common/v2/common.proto


export interface Build {
  'gitVersion'?: (string) | undefined;
  'gitCommit'?: (string) | undefined;
  'goVersion'?: (string) | undefined;
  'rustVersion'?: (string) | undefined;
  'platform'?: (string) | undefined;
}

export interface Build__Output {
  'gitVersion': (string);
  'gitCommit'?: (string);
  'goVersion'?: (string);
  'rustVersion'?: (string);
  'platform'?: (string);
  '_gitCommit'?: "gitCommit";
  '_goVersion'?: "goVersion";
  '_rustVersion'?: "rustVersion";
  '_platform'?: "platform";
}
