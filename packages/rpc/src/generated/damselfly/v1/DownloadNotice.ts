// Original file: proto/damselfly/v1/extension.proto


/**
 * What a download waits for, to be shown to whoever asked for it. Sent to Damselfly's dfget only.
 */
export interface DownloadNotice {
  /**
   * A sentence without a full stop: `waiting for the origin: it asked to come back in 30 s`.
   */
  'text'?: (string) | undefined;
  /**
   * Milliseconds from now; 0: nobody knows.
   */
  'waitMs'?: (number) | undefined;
}

/**
 * What a download waits for, to be shown to whoever asked for it. Sent to Damselfly's dfget only.
 */
export interface DownloadNotice__Output {
  /**
   * A sentence without a full stop: `waiting for the origin: it asked to come back in 30 s`.
   */
  'text': (string);
  /**
   * Milliseconds from now; 0: nobody knows.
   */
  'waitMs': (number);
}
