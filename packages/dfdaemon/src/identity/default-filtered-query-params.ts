/**
 * Query keys that sign a request rather than name a file: dropped from the URL before the task id is made, so that two people with
 * two presigned URLs of one object share one task. dfget sends this list unless told otherwise.
 *
 * Source: dragonflyoss/client 1.5.10, `default_proxy_rule_filtered_query_params`.
 */
export const DEFAULT_FILTERED_QUERY_PARAMS: readonly string[] = [
  // S3
  "X-Amz-Algorithm",
  "X-Amz-Credential",
  "X-Amz-Date",
  "X-Amz-Expires",
  "X-Amz-SignedHeaders",
  "X-Amz-Signature",
  "X-Amz-Security-Token",
  "X-Amz-User-Agent",
  // Google Cloud Storage
  "X-Goog-Algorithm",
  "X-Goog-Credential",
  "X-Goog-Date",
  "X-Goog-Expires",
  "X-Goog-SignedHeaders",
  "X-Goog-Signature",
  // Alibaba OSS
  "OSSAccessKeyId",
  "Expires",
  "Signature",
  "SecurityToken",
  // Huawei OBS
  "AccessKeyId",
  "X-Obs-Date",
  "X-Obs-Security-Token",
  // Tencent COS
  "q-sign-algorithm",
  "q-ak",
  "q-sign-time",
  "q-key-time",
  "q-header-list",
  "q-url-param-list",
  "q-signature",
  "x-cos-security-token",
  // containerd
  "ns",
];
