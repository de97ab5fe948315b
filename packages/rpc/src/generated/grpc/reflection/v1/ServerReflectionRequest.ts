// Original file: proto/grpc/reflection/v1/reflection.proto

import type { ExtensionRequest as _grpc_reflection_v1_ExtensionRequest, ExtensionRequest__Output as _grpc_reflection_v1_ExtensionRequest__Output } from '../../../grpc/reflection/v1/ExtensionRequest.ts';

export interface ServerReflectionRequest {
  'host'?: (string) | undefined;
  'fileByFilename'?: (string) | undefined;
  /**
   * `package.Message`, `package.Service` or `package.Service.Method`.
   */
  'fileContainingSymbol'?: (string) | undefined;
  'fileContainingExtension'?: (_grpc_reflection_v1_ExtensionRequest | null) | undefined;
  'allExtensionNumbersOfType'?: (string) | undefined;
  /**
   * Every service, whatever the text is.
   */
  'listServices'?: (string) | undefined;
  'messageRequest'?: "fileByFilename"|"fileContainingSymbol"|"fileContainingExtension"|"allExtensionNumbersOfType"|"listServices" | undefined;
}

export interface ServerReflectionRequest__Output {
  'host': (string);
  'fileByFilename'?: (string);
  /**
   * `package.Message`, `package.Service` or `package.Service.Method`.
   */
  'fileContainingSymbol'?: (string);
  'fileContainingExtension'?: (_grpc_reflection_v1_ExtensionRequest__Output | null);
  'allExtensionNumbersOfType'?: (string);
  /**
   * Every service, whatever the text is.
   */
  'listServices'?: (string);
  'messageRequest'?: "fileByFilename"|"fileContainingSymbol"|"fileContainingExtension"|"allExtensionNumbersOfType"|"listServices";
}
