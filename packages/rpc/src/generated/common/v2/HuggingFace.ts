// Original file: proto/common/v2/common.proto


/**
 * A model hub; `revision` is a branch, tag or commit.
 */
export interface HuggingFace {
  'token'?: (string) | undefined;
  'revision'?: (string) | undefined;
  'baseUrl'?: (string) | undefined;
}

/**
 * A model hub; `revision` is a branch, tag or commit.
 */
export interface HuggingFace__Output {
  'token'?: (string);
  'revision': (string);
  'baseUrl'?: (string);
  '_token'?: "token";
  '_baseUrl'?: "baseUrl";
}
