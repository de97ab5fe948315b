// Original file: proto/damselfly/v1/extension.proto


/**
 * What Damselfly's scheduler understands beyond Dragonfly's.
 */
export interface SchedulerExtension {
  /**
   * 1: a reader of the origin may say again that it has started, which renews its lease while no piece is whole yet.
   */
  'version'?: (number) | undefined;
}

/**
 * What Damselfly's scheduler understands beyond Dragonfly's.
 */
export interface SchedulerExtension__Output {
  /**
   * 1: a reader of the origin may say again that it has started, which renews its lease while no piece is whole yet.
   */
  'version': (number);
}
