// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface Entry {
  'url'?: (string) | undefined;
  /**
   * Bytes.
   */
  'contentLength'?: (number) | undefined;
  'isDir'?: (boolean) | undefined;
}

export interface Entry__Output {
  'url': (string);
  /**
   * Bytes.
   */
  'contentLength': (number);
  'isDir': (boolean);
}
