// Original file: proto/damselfly/v1/extension.proto


/**
 * What a user asks of Damselfly's daemon that Dragonfly's has no field for.
 */
export interface DownloadExtension {
  /**
   * True: the origin's certificate is not checked.
   */
  'insecureSkipVerify'?: (boolean) | undefined;
  /**
   * True: ask the origin whether a finished copy is still current.
   */
  'revalidate'?: (boolean) | undefined;
  /**
   * User id of who wants an output written. A daemon of another user answers PERMISSION_DENIED, before it does anything: the output would
   * be its own, or even its copy.
   */
  'uid'?: (number) | undefined;
}

/**
 * What a user asks of Damselfly's daemon that Dragonfly's has no field for.
 */
export interface DownloadExtension__Output {
  /**
   * True: the origin's certificate is not checked.
   */
  'insecureSkipVerify': (boolean);
  /**
   * True: ask the origin whether a finished copy is still current.
   */
  'revalidate': (boolean);
  /**
   * User id of who wants an output written. A daemon of another user answers PERMISSION_DENIED, before it does anything: the output would
   * be its own, or even its copy.
   */
  'uid'?: (number);
  '_uid'?: "uid";
}
