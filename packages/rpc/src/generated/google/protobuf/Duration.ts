// Original file: null


export interface Duration {
  'seconds'?: (number) | undefined;
  'nanos'?: (number) | undefined;
}

export interface Duration__Output {
  'seconds': (number);
  'nanos': (number);
}
