// Original file: proto/manager/v2/manager.proto

import type { SourceType as _manager_v2_SourceType, SourceType__Output as _manager_v2_SourceType__Output } from '../../manager/v2/SourceType.ts';

export interface ListSchedulersRequest {
  'sourceType'?: (_manager_v2_SourceType) | undefined;
  /**
   * Refused with INVALID_ARGUMENT unless it is a host name as RFC 1123 has it: no underscores.
   */
  'hostname'?: (string) | undefined;
  /**
   * IPv4 or IPv6.
   */
  'ip'?: (string) | undefined;
  'idc'?: (string) | undefined;
  'location'?: (string) | undefined;
  /**
   * 1 to 1024 characters, or empty.
   */
  'version'?: (string) | undefined;
  /**
   * 1 to 1024 characters, or empty.
   */
  'commit'?: (string) | undefined;
  /**
   * 0: whichever cluster fits.
   */
  'schedulerClusterId'?: (number) | undefined;
}

export interface ListSchedulersRequest__Output {
  'sourceType': (_manager_v2_SourceType__Output);
  /**
   * Refused with INVALID_ARGUMENT unless it is a host name as RFC 1123 has it: no underscores.
   */
  'hostname': (string);
  /**
   * IPv4 or IPv6.
   */
  'ip': (string);
  'idc'?: (string);
  'location'?: (string);
  /**
   * 1 to 1024 characters, or empty.
   */
  'version': (string);
  /**
   * 1 to 1024 characters, or empty.
   */
  'commit': (string);
  /**
   * 0: whichever cluster fits.
   */
  'schedulerClusterId': (number);
  '_idc'?: "idc";
  '_location'?: "location";
}
