// Original file: proto/common/v2/common.proto


/**
 * How to reach an object store.
 */
export interface ObjectStorage {
  'region'?: (string) | undefined;
  'endpoint'?: (string) | undefined;
  'accessKeyId'?: (string) | undefined;
  'accessKeySecret'?: (string) | undefined;
  'sessionToken'?: (string) | undefined;
  'credentialPath'?: (string) | undefined;
  'predefinedAcl'?: (string) | undefined;
  'securityToken'?: (string) | undefined;
  'insecureSkipVerify'?: (boolean) | undefined;
}

/**
 * How to reach an object store.
 */
export interface ObjectStorage__Output {
  'region'?: (string);
  'endpoint'?: (string);
  'accessKeyId'?: (string);
  'accessKeySecret'?: (string);
  'sessionToken'?: (string);
  'credentialPath'?: (string);
  'predefinedAcl'?: (string);
  'securityToken'?: (string);
  'insecureSkipVerify'?: (boolean);
  '_region'?: "region";
  '_endpoint'?: "endpoint";
  '_accessKeyId'?: "accessKeyId";
  '_accessKeySecret'?: "accessKeySecret";
  '_sessionToken'?: "sessionToken";
  '_credentialPath'?: "credentialPath";
  '_predefinedAcl'?: "predefinedAcl";
  '_securityToken'?: "securityToken";
  '_insecureSkipVerify'?: "insecureSkipVerify";
}
