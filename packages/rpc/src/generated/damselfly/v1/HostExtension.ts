// Original file: proto/damselfly/v1/extension.proto


/**
 * What a daemon says of itself when it announces its host.
 */
export interface HostExtension {
  /**
   * 1. A higher one means more fields, never other meanings.
   */
  'version'?: (number) | undefined;
  /**
   * True: serves pieces to Dragonfly's daemons, without TLS, and takes theirs.
   */
  'plainPeers'?: (boolean) | undefined;
}

/**
 * What a daemon says of itself when it announces its host.
 */
export interface HostExtension__Output {
  /**
   * 1. A higher one means more fields, never other meanings.
   */
  'version': (number);
  /**
   * True: serves pieces to Dragonfly's daemons, without TLS, and takes theirs.
   */
  'plainPeers': (boolean);
}
