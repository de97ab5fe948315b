// Original file: proto/common/v2/common.proto


/**
 * Seconds since boot.
 */
export interface CPUTimes {
  'user'?: (number | string) | undefined;
  'system'?: (number | string) | undefined;
  'idle'?: (number | string) | undefined;
  'nice'?: (number | string) | undefined;
  'iowait'?: (number | string) | undefined;
  'irq'?: (number | string) | undefined;
  'softirq'?: (number | string) | undefined;
  'steal'?: (number | string) | undefined;
  'guest'?: (number | string) | undefined;
  'guestNice'?: (number | string) | undefined;
}

/**
 * Seconds since boot.
 */
export interface CPUTimes__Output {
  'user': (number);
  'system': (number);
  'idle': (number);
  'nice': (number);
  'iowait': (number);
  'irq': (number);
  'softirq': (number);
  'steal': (number);
  'guest': (number);
  'guestNice': (number);
}
