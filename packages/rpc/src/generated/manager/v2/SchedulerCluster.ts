// Original file: proto/manager/v2/manager.proto


/**
 * `config`, `client_config`, `scopes` and `seed_client_config` are JSON texts.
 */
export interface SchedulerCluster {
  'id'?: (number) | undefined;
  'name'?: (string) | undefined;
  'bio'?: (string) | undefined;
  'config'?: (Uint8Array) | undefined;
  /**
   * For daemons; a daemon heeds its `blockList`.
   */
  'clientConfig'?: (Uint8Array) | undefined;
  'scopes'?: (Uint8Array) | undefined;
  /**
   * For seeds, likewise.
   */
  'seedClientConfig'?: (Uint8Array) | undefined;
}

/**
 * `config`, `client_config`, `scopes` and `seed_client_config` are JSON texts.
 */
export interface SchedulerCluster__Output {
  'id': (number);
  'name': (string);
  'bio': (string);
  'config': (Buffer);
  /**
   * For daemons; a daemon heeds its `blockList`.
   */
  'clientConfig': (Buffer);
  'scopes': (Buffer);
  /**
   * For seeds, likewise.
   */
  'seedClientConfig': (Buffer);
}
