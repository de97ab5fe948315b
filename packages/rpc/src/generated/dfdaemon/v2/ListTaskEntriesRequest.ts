// Original file: proto/dfdaemon/v2/dfdaemon.proto

import type { Duration as _google_protobuf_Duration, Duration__Output as _google_protobuf_Duration__Output } from '../../google/protobuf/Duration.ts';
import type { ObjectStorage as _common_v2_ObjectStorage, ObjectStorage__Output as _common_v2_ObjectStorage__Output } from '../../common/v2/ObjectStorage.ts';
import type { HDFS as _common_v2_HDFS, HDFS__Output as _common_v2_HDFS__Output } from '../../common/v2/HDFS.ts';
import type { HuggingFace as _common_v2_HuggingFace, HuggingFace__Output as _common_v2_HuggingFace__Output } from '../../common/v2/HuggingFace.ts';
import type { ModelScope as _common_v2_ModelScope, ModelScope__Output as _common_v2_ModelScope__Output } from '../../common/v2/ModelScope.ts';
import type { OpenCSG as _common_v2_OpenCSG, OpenCSG__Output as _common_v2_OpenCSG__Output } from '../../common/v2/OpenCSG.ts';

export interface ListTaskEntriesRequest {
  'taskId'?: (string) | undefined;
  'url'?: (string) | undefined;
  'requestHeader'?: ({[key: string]: string}) | undefined;
  'timeout'?: (_google_protobuf_Duration | null) | undefined;
  /**
   * DER certificates to trust at the origin.
   */
  'certificateChain'?: (Uint8Array)[] | undefined;
  'objectStorage'?: (_common_v2_ObjectStorage | null) | undefined;
  'hdfs'?: (_common_v2_HDFS | null) | undefined;
  'remoteIp'?: (string) | undefined;
  'huggingFace'?: (_common_v2_HuggingFace | null) | undefined;
  'modelScope'?: (_common_v2_ModelScope | null) | undefined;
  'openCsg'?: (_common_v2_OpenCSG | null) | undefined;
}

export interface ListTaskEntriesRequest__Output {
  'taskId': (string);
  'url': (string);
  'requestHeader': ({[key: string]: string});
  'timeout'?: (_google_protobuf_Duration__Output | null);
  /**
   * DER certificates to trust at the origin.
   */
  'certificateChain': (Buffer)[];
  'objectStorage'?: (_common_v2_ObjectStorage__Output | null);
  'hdfs'?: (_common_v2_HDFS__Output | null);
  'remoteIp'?: (string);
  'huggingFace'?: (_common_v2_HuggingFace__Output | null);
  'modelScope'?: (_common_v2_ModelScope__Output | null);
  'openCsg'?: (_common_v2_OpenCSG__Output | null);
  '_timeout'?: "timeout";
  '_objectStorage'?: "objectStorage";
  '_hdfs'?: "hdfs";
  '_remoteIp'?: "remoteIp";
  '_huggingFace'?: "huggingFace";
  '_modelScope'?: "modelScope";
  '_openCsg'?: "openCsg";
}
