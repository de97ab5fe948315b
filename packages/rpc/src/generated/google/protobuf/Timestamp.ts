// Original file: null


export interface Timestamp {
  'seconds'?: (number) | undefined;
  'nanos'?: (number) | undefined;
}

export interface Timestamp__Output {
  'seconds': (number);
  'nanos': (number);
}
