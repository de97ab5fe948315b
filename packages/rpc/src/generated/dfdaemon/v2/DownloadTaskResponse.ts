// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { DownloadTaskStartedResponse as _dfdaemon_v2_DownloadTaskStartedResponse, DownloadTaskStartedResponse__Output as _dfdaemon_v2_DownloadTaskStartedResponse__Output } from '../../dfdaemon/v2/DownloadTaskStartedResponse.ts';
import type { DownloadPieceFinishedResponse as _dfdaemon_v2_DownloadPieceFinishedResponse, DownloadPieceFinishedResponse__Output as _dfdaemon_v2_DownloadPieceFinishedResponse__Output } from '../../dfdaemon/v2/DownloadPieceFinishedResponse.ts';
import type { DownloadWait as _damselfly_v1_DownloadWait, DownloadWait__Output as _damselfly_v1_DownloadWait__Output } from '../../damselfly/v1/DownloadWait.ts';

export interface DownloadTaskResponse {
  'hostId'?: (string) | undefined;
  'taskId'?: (string) | undefined;
  'peerId'?: (string) | undefined;
  'downloadTaskStartedResponse'?: (_dfdaemon_v2_DownloadTaskStartedResponse | null) | undefined;
  'downloadPieceFinishedResponse'?: (_dfdaemon_v2_DownloadPieceFinishedResponse | null) | undefined;
  /**
   * In place of a response, to Damselfly's dfget, which says in its user agent that it is.
   */
  'wait'?: (_damselfly_v1_DownloadWait | null) | undefined;
  'response'?: "downloadTaskStartedResponse"|"downloadPieceFinishedResponse" | undefined;
}

export interface DownloadTaskResponse__Output {
  'hostId': (string);
  'taskId': (string);
  'peerId': (string);
  'downloadTaskStartedResponse'?: (_dfdaemon_v2_DownloadTaskStartedResponse__Output | null);
  'downloadPieceFinishedResponse'?: (_dfdaemon_v2_DownloadPieceFinishedResponse__Output | null);
  /**
   * In place of a response, to Damselfly's dfget, which says in its user agent that it is.
   */
  'wait': (_damselfly_v1_DownloadWait__Output | null);
  'response'?: "downloadTaskStartedResponse"|"downloadPieceFinishedResponse";
}
