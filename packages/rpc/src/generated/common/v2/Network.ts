// Original file: proto/common/v2/common.proto


/**
 * Bandwidths are bits per second: `max_` what may be used, without it what is measured.
 */
export interface Network {
  'tcpConnectionCount'?: (number) | undefined;
  'uploadTcpConnectionCount'?: (number) | undefined;
  'location'?: (string) | undefined;
  'idc'?: (string) | undefined;
  'maxRxBandwidth'?: (number) | undefined;
  'rxBandwidth'?: (number) | undefined;
  'maxTxBandwidth'?: (number) | undefined;
  'txBandwidth'?: (number) | undefined;
}

/**
 * Bandwidths are bits per second: `max_` what may be used, without it what is measured.
 */
export interface Network__Output {
  'tcpConnectionCount': (number);
  'uploadTcpConnectionCount': (number);
  'location'?: (string);
  'idc'?: (string);
  'maxRxBandwidth': (number);
  'rxBandwidth'?: (number);
  'maxTxBandwidth': (number);
  'txBandwidth'?: (number);
  '_location'?: "location";
  '_idc'?: "idc";
  '_rxBandwidth'?: "rxBandwidth";
  '_txBandwidth'?: "txBandwidth";
}
