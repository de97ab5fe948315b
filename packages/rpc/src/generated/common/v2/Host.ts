// Original file: proto/common/v2/common.proto

import type { CPU as _common_v2_CPU, CPU__Output as _common_v2_CPU__Output } from '../../common/v2/CPU.ts';
import type { Memory as _common_v2_Memory, Memory__Output as _common_v2_Memory__Output } from '../../common/v2/Memory.ts';
import type { Network as _common_v2_Network, Network__Output as _common_v2_Network__Output } from '../../common/v2/Network.ts';
import type { Disk as _common_v2_Disk, Disk__Output as _common_v2_Disk__Output } from '../../common/v2/Disk.ts';
import type { Build as _common_v2_Build, Build__Output as _common_v2_Build__Output } from '../../common/v2/Build.ts';
import type { HostExtension as _damselfly_v1_HostExtension, HostExtension__Output as _damselfly_v1_HostExtension__Output } from '../../damselfly/v1/HostExtension.ts';

/**
 * One daemon.
 */
export interface Host {
  /**
   * `{ip}-{hostname}`, with `-seed` behind it for a seed.
   */
  'id'?: (string) | undefined;
  /**
   * 0: a normal daemon, 1: a seed.
   */
  'type'?: (number) | undefined;
  'hostname'?: (string) | undefined;
  'ip'?: (string) | undefined;
  /**
   * Where DfdaemonUpload listens.
   */
  'port'?: (number) | undefined;
  /**
   * The same as port in what daemons announce.
   */
  'downloadPort'?: (number) | undefined;
  'os'?: (string) | undefined;
  'platform'?: (string) | undefined;
  'platformFamily'?: (string) | undefined;
  'platformVersion'?: (string) | undefined;
  'kernelVersion'?: (string) | undefined;
  'cpu'?: (_common_v2_CPU | null) | undefined;
  'memory'?: (_common_v2_Memory | null) | undefined;
  'network'?: (_common_v2_Network | null) | undefined;
  'disk'?: (_common_v2_Disk | null) | undefined;
  'build'?: (_common_v2_Build | null) | undefined;
  'schedulerClusterId'?: (number) | undefined;
  /**
   * True: this daemon takes pieces and gives none.
   */
  'disableShared'?: (boolean) | undefined;
  'proxyPort'?: (number) | undefined;
  /**
   * A name for people: `{pod namespace}-{pod name}`, or the hostname.
   */
  'name'?: (string) | undefined;
  'extension'?: (_damselfly_v1_HostExtension | null) | undefined;
}

/**
 * One daemon.
 */
export interface Host__Output {
  /**
   * `{ip}-{hostname}`, with `-seed` behind it for a seed.
   */
  'id': (string);
  /**
   * 0: a normal daemon, 1: a seed.
   */
  'type': (number);
  'hostname': (string);
  'ip': (string);
  /**
   * Where DfdaemonUpload listens.
   */
  'port': (number);
  /**
   * The same as port in what daemons announce.
   */
  'downloadPort': (number);
  'os': (string);
  'platform': (string);
  'platformFamily': (string);
  'platformVersion': (string);
  'kernelVersion': (string);
  'cpu'?: (_common_v2_CPU__Output | null);
  'memory'?: (_common_v2_Memory__Output | null);
  'network'?: (_common_v2_Network__Output | null);
  'disk'?: (_common_v2_Disk__Output | null);
  'build'?: (_common_v2_Build__Output | null);
  'schedulerClusterId': (number);
  /**
   * True: this daemon takes pieces and gives none.
   */
  'disableShared': (boolean);
  'proxyPort': (number);
  /**
   * A name for people: `{pod namespace}-{pod name}`, or the hostname.
   */
  'name': (string);
  'extension': (_damselfly_v1_HostExtension__Output | null);
  '_cpu'?: "cpu";
  '_memory'?: "memory";
  '_network'?: "network";
  '_disk'?: "disk";
  '_build'?: "build";
}
