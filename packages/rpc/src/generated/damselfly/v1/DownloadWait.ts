// Original file: proto/damselfly/v1/extension.proto


/**
 * What a download waits for. Said when that begins, and again when it is something else.
 */
export interface DownloadWait {
  /**
   * A name that stays what it is: `scheduler`, `origin-retry`, `disk` and others. Empty: something moves again.
   */
  'reason'?: (string) | undefined;
  /**
   * In words that "for 12 s" can follow.
   */
  'description'?: (string) | undefined;
  /**
   * For how long it has lasted. Milliseconds.
   */
  'waitedMs'?: (number) | undefined;
  /**
   * When something else is done about it, at the latest, counted from its beginning. Milliseconds; 0: not known.
   */
  'boundMs'?: (number) | undefined;
}

/**
 * What a download waits for. Said when that begins, and again when it is something else.
 */
export interface DownloadWait__Output {
  /**
   * A name that stays what it is: `scheduler`, `origin-retry`, `disk` and others. Empty: something moves again.
   */
  'reason': (string);
  /**
   * In words that "for 12 s" can follow.
   */
  'description': (string);
  /**
   * For how long it has lasted. Milliseconds.
   */
  'waitedMs': (number);
  /**
   * When something else is done about it, at the latest, counted from its beginning. Milliseconds; 0: not known.
   */
  'boundMs': (number);
}
