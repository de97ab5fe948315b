// Original file: proto/common/v2/common.proto

import type { Range as _common_v2_Range, Range__Output as _common_v2_Range__Output } from '../../common/v2/Range.ts';
import type { TaskType as _common_v2_TaskType, TaskType__Output as _common_v2_TaskType__Output } from '../../common/v2/TaskType.ts';
import type { Priority as _common_v2_Priority, Priority__Output as _common_v2_Priority__Output } from '../../common/v2/Priority.ts';
import type { Duration as _google_protobuf_Duration, Duration__Output as _google_protobuf_Duration__Output } from '../../google/protobuf/Duration.ts';
import type { ObjectStorage as _common_v2_ObjectStorage, ObjectStorage__Output as _common_v2_ObjectStorage__Output } from '../../common/v2/ObjectStorage.ts';
import type { HDFS as _common_v2_HDFS, HDFS__Output as _common_v2_HDFS__Output } from '../../common/v2/HDFS.ts';
import type { HuggingFace as _common_v2_HuggingFace, HuggingFace__Output as _common_v2_HuggingFace__Output } from '../../common/v2/HuggingFace.ts';
import type { ModelScope as _common_v2_ModelScope, ModelScope__Output as _common_v2_ModelScope__Output } from '../../common/v2/ModelScope.ts';
import type { OpenCSG as _common_v2_OpenCSG, OpenCSG__Output as _common_v2_OpenCSG__Output } from '../../common/v2/OpenCSG.ts';
import type { SchedulingPolicy as _common_v2_SchedulingPolicy, SchedulingPolicy__Output as _common_v2_SchedulingPolicy__Output } from '../../common/v2/SchedulingPolicy.ts';
import type { DownloadExtension as _damselfly_v1_DownloadExtension, DownloadExtension__Output as _damselfly_v1_DownloadExtension__Output } from '../../damselfly/v1/DownloadExtension.ts';

/**
 * What a user wants to have downloaded, and how.
 */
export interface Download {
  'url'?: (string) | undefined;
  /**
   * `<algorithm>:<value>` that the entire file must have.
   */
  'digest'?: (string) | undefined;
  'range'?: (_common_v2_Range | null) | undefined;
  'type'?: (_common_v2_TaskType) | undefined;
  'tag'?: (string) | undefined;
  'application'?: (string) | undefined;
  'priority'?: (_common_v2_Priority) | undefined;
  /**
   * Query parameters left out of the task id.
   */
  'filteredQueryParams'?: (string)[] | undefined;
  'requestHeader'?: ({[key: string]: string}) | undefined;
  /**
   * Bytes, 4 MiB to 64 MiB; absent: chosen from the content length.
   */
  'pieceLength'?: (number) | undefined;
  /**
   * Absolute path that the daemon writes; absent: the daemon only keeps the task.
   */
  'outputPath'?: (string) | undefined;
  'timeout'?: (_google_protobuf_Duration | null) | undefined;
  /**
   * True: fail rather than read the origin.
   */
  'disableBackToSource'?: (boolean) | undefined;
  /**
   * True: read the origin without asking for parents.
   */
  'needBackToSource'?: (boolean) | undefined;
  /**
   * DER certificates to trust at the origin.
   */
  'certificateChain'?: (Uint8Array)[] | undefined;
  /**
   * True: with a range, fetch the entire file in the background.
   */
  'prefetch'?: (boolean) | undefined;
  'objectStorage'?: (_common_v2_ObjectStorage | null) | undefined;
  'hdfs'?: (_common_v2_HDFS | null) | undefined;
  /**
   * True: this download is such a prefetch.
   */
  'isPrefetch'?: (boolean) | undefined;
  /**
   * True: finished pieces carry their content.
   */
  'needPieceContent'?: (boolean) | undefined;
  /**
   * True: fail rather than copy when the output cannot be a hard link.
   */
  'forceHardLink'?: (boolean) | undefined;
  /**
   * Text to make the task id from, in place of the URL.
   */
  'contentForCalculatingTaskId'?: (string) | undefined;
  'remoteIp'?: (string) | undefined;
  'concurrentPieceCount'?: (number) | undefined;
  'overwrite'?: (boolean) | undefined;
  /**
   * The three that a daemon found out and tells the scheduler: bytes, bytes, count.
   */
  'actualPieceLength'?: (number) | undefined;
  'actualContentLength'?: (number) | undefined;
  'actualPieceCount'?: (number) | undefined;
  /**
   * True: the task id of a registry blob is the digest in its URL.
   */
  'enableTaskIdBasedBlobDigest'?: (boolean) | undefined;
  'huggingFace'?: (_common_v2_HuggingFace | null) | undefined;
  'modelScope'?: (_common_v2_ModelScope | null) | undefined;
  /**
   * True: find out what the task is, fetch nothing.
   */
  'metadataOnly'?: (boolean) | undefined;
  'openCsg'?: (_common_v2_OpenCSG | null) | undefined;
  'schedulingPolicy'?: (_common_v2_SchedulingPolicy) | undefined;
  'extension'?: (_damselfly_v1_DownloadExtension | null) | undefined;
}

/**
 * What a user wants to have downloaded, and how.
 */
export interface Download__Output {
  'url': (string);
  /**
   * `<algorithm>:<value>` that the entire file must have.
   */
  'digest'?: (string);
  'range'?: (_common_v2_Range__Output | null);
  'type': (_common_v2_TaskType__Output);
  'tag'?: (string);
  'application'?: (string);
  'priority': (_common_v2_Priority__Output);
  /**
   * Query parameters left out of the task id.
   */
  'filteredQueryParams': (string)[];
  'requestHeader': ({[key: string]: string});
  /**
   * Bytes, 4 MiB to 64 MiB; absent: chosen from the content length.
   */
  'pieceLength'?: (number);
  /**
   * Absolute path that the daemon writes; absent: the daemon only keeps the task.
   */
  'outputPath'?: (string);
  'timeout'?: (_google_protobuf_Duration__Output | null);
  /**
   * True: fail rather than read the origin.
   */
  'disableBackToSource': (boolean);
  /**
   * True: read the origin without asking for parents.
   */
  'needBackToSource': (boolean);
  /**
   * DER certificates to trust at the origin.
   */
  'certificateChain': (Buffer)[];
  /**
   * True: with a range, fetch the entire file in the background.
   */
  'prefetch': (boolean);
  'objectStorage'?: (_common_v2_ObjectStorage__Output | null);
  'hdfs'?: (_common_v2_HDFS__Output | null);
  /**
   * True: this download is such a prefetch.
   */
  'isPrefetch': (boolean);
  /**
   * True: finished pieces carry their content.
   */
  'needPieceContent': (boolean);
  /**
   * True: fail rather than copy when the output cannot be a hard link.
   */
  'forceHardLink': (boolean);
  /**
   * Text to make the task id from, in place of the URL.
   */
  'contentForCalculatingTaskId'?: (string);
  'remoteIp'?: (string);
  'concurrentPieceCount'?: (number);
  'overwrite': (boolean);
  /**
   * The three that a daemon found out and tells the scheduler: bytes, bytes, count.
   */
  'actualPieceLength'?: (number);
  'actualContentLength'?: (number);
  'actualPieceCount'?: (number);
  /**
   * True: the task id of a registry blob is the digest in its URL.
   */
  'enableTaskIdBasedBlobDigest': (boolean);
  'huggingFace'?: (_common_v2_HuggingFace__Output | null);
  'modelScope'?: (_common_v2_ModelScope__Output | null);
  /**
   * True: find out what the task is, fetch nothing.
   */
  'metadataOnly': (boolean);
  'openCsg'?: (_common_v2_OpenCSG__Output | null);
  'schedulingPolicy': (_common_v2_SchedulingPolicy__Output);
  'extension': (_damselfly_v1_DownloadExtension__Output | null);
  '_digest'?: "digest";
  '_range'?: "range";
  '_tag'?: "tag";
  '_application'?: "application";
  '_pieceLength'?: "pieceLength";
  '_outputPath'?: "outputPath";
  '_timeout'?: "timeout";
  '_objectStorage'?: "objectStorage";
  '_hdfs'?: "hdfs";
  '_contentForCalculatingTaskId'?: "contentForCalculatingTaskId";
  '_remoteIp'?: "remoteIp";
  '_concurrentPieceCount'?: "concurrentPieceCount";
  '_actualPieceLength'?: "actualPieceLength";
  '_actualContentLength'?: "actualContentLength";
  '_actualPieceCount'?: "actualPieceCount";
  '_huggingFace'?: "huggingFace";
  '_modelScope'?: "modelScope";
  '_openCsg'?: "openCsg";
}
