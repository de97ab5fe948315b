// Original file: proto/damselfly/v1/extension.proto


/**
 * What Damselfly's daemon says at the start of a download, to Damselfly's dfget.
 */
export interface DownloadStartExtension {
  /**
   * True: the output appears at its path complete, or not at all. What is there before that is somebody else's.
   */
  'atomicOutput'?: (boolean) | undefined;
}

/**
 * What Damselfly's daemon says at the start of a download, to Damselfly's dfget.
 */
export interface DownloadStartExtension__Output {
  /**
   * True: the output appears at its path complete, or not at all. What is there before that is somebody else's.
   */
  'atomicOutput': (boolean);
}
