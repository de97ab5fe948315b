/** One flag as it is parsed, read from the environment, and explained in the help. */
export interface Flag {
  readonly name: string;
  readonly short?: string;
  /** Undefined: a switch without a value. */
  readonly value?: string;
  readonly multiple?: true;
  /** Environment variable that gives its value when the command line does not. */
  readonly env?: string;
  /** As the help prints it. */
  readonly fallback?: string;
  readonly help: string;
}

/** Everything dfget understands, in the order of the help. Names and defaults are Dragonfly's where it has the flag. */
export const FLAGS: readonly Flag[] = [
  {
    name: "output",
    short: "O",
    value: "FILE",
    help: "where to write the file; '-' writes it to standard output",
  },
  {
    name: "range",
    value: "A-B",
    help: "only bytes A to B, both included; 'A-' is from A on, '-N' the last N bytes",
  },
  {
    name: "overwrite",
    env: "DFGET_OVERWRITE",
    help: "replace FILE if it exists, at the moment the download is complete",
  },
  {
    name: "digest",
    value: "ALG:VALUE",
    help: "what the complete file must have: sha256:…, sha512:… (hex) or crc32:… (decimal)",
  },
  {
    name: "header",
    short: "H",
    value: "'KEY: VALUE'",
    multiple: true,
    help: "sent to the origin; may be given several times",
  },
  {
    name: "revalidate",
    env: "DFGET_REVALIDATE",
    help: "ask the origin whether a copy that is already here is still current",
  },
  {
    name: "ca-cert",
    value: "FILE",
    env: "DFGET_CA_CERT",
    help: "PEM file with certificates to trust at the origin, besides the daemon's",
  },
  { name: "insecure", env: "DFGET_INSECURE", help: "do not check the origin's certificate" },
  {
    name: "timeout",
    value: "DURATION",
    env: "DFGET_TIMEOUT",
    fallback: "2h",
    help: "for the entire download, such as 90s or 1h30m",
  },

  {
    name: "tag",
    value: "TEXT",
    env: "DFGET_TAG",
    help: "downloads with different tags are different tasks",
  },
  {
    name: "application",
    value: "TEXT",
    env: "DFGET_APPLICATION",
    help: "as --tag, for the program that asks",
  },
  {
    name: "filtered-query-param",
    value: "NAME",
    multiple: true,
    fallback: "signature parameters of S3, GCS, OSS, OBS, COS",
    help: "query parameter that does not make another task; replaces the default list",
  },
  {
    name: "content-for-calculating-task-id",
    value: "TEXT",
    env: "DFGET_CONTENT_FOR_CALCULATING_TASK_ID",
    help: "what the task id is made from, in place of the URL",
  },
  {
    name: "piece-length",
    value: "LENGTH",
    env: "DFGET_PIECE_LENGTH",
    fallback: "by the file's length",
    help: "at least 4mib, such as 8mib",
  },
  {
    name: "priority",
    short: "p",
    value: "0-6",
    env: "DFGET_PRIORITY",
    fallback: "6",
    help: "2: only from peers that have it, 3: from the origin without a seed",
  },
  {
    name: "scheduling-policy",
    value: "auto|always",
    env: "DFGET_SCHEDULING_POLICY",
    fallback: "auto",
    help: "always: small files go through the scheduler too",
  },
  {
    name: "disable-back-to-source",
    env: "DFGET_DISABLE_BACK_TO_SOURCE",
    help: "fail rather than read the origin",
  },
  {
    name: "transfer-from-dfdaemon",
    env: "DFGET_TRANSFER_FROM_DFDAEMON",
    help: "take the bytes over the socket and write FILE here",
  },
  {
    name: "force-hard-link",
    env: "DFGET_FORCE_HARD_LINK",
    help: "fail if FILE cannot be a hard link to the daemon's copy",
  },

  {
    name: "endpoint",
    short: "e",
    value: "SOCKET",
    fallback: "the node's daemon, else one of your own",
    help: "unix socket of the daemon; with it, none is started",
  },
  { name: "no-start", env: "DFGET_NO_START", help: "never start a daemon" },
  {
    name: "json",
    env: "DFGET_JSON",
    help: "print one JSON object a line: to standard output, with '-O -' to standard error",
  },
  { name: "no-progress", env: "DFGET_NO_PROGRESS", help: "show no progress" },
  {
    name: "log-level",
    short: "l",
    value: "LEVEL",
    env: "DFGET_LOG_LEVEL",
    fallback: "info",
    help: "of a daemon that dfget starts: trace, debug, info, warn or error",
  },
  {
    name: "console",
    env: "DFGET_CONSOLE",
    help: "accepted for Dragonfly's sake: dfget logs nowhere else",
  },
  {
    name: "max-files",
    value: "COUNT",
    env: "DFGET_MAX_FILES",
    help: "accepted for Dragonfly's sake: it limits directories, which HTTP has none of",
  },
  {
    name: "max-concurrent-requests",
    value: "COUNT",
    env: "DFGET_MAX_CONCURRENT_REQUESTS",
    help: "as --max-files",
  },
  { name: "version", short: "V", help: "print the version" },
  { name: "help", short: "h", help: "print this" },
];

/** Dragonfly's flags for what Damselfly does not do, and the sentence to refuse them with. */
export const REFUSED_FLAGS: ReadonlyMap<string, string> = new Map([
  ...refuse("directories cannot be downloaded: HTTP has no list of them", [
    "recursive",
    "include-files",
  ]),
  ...refuse(
    "object storage is not supported: give an http or https URL, a presigned one for instance",
    [
      "region",
      "endpoint",
      "access-key-id",
      "access-key-secret",
      "security-token",
      "session-token",
      "credential-path",
      "insecure-skip-verify",
      "predefined-acl",
    ].map((name) => `storage-${name}`),
  ),
  ...refuse("HDFS is not supported: give an http or https URL", ["hdfs-delegation-token"]),
  ...refuse(
    "model hubs are not supported: give the file's https URL, and the token with -H",
    ["hf", "ms", "csg"].flatMap((hub) => [`${hub}-revision`, `${hub}-token`, `${hub}-base-url`]),
  ),
]);

/** Short forms of refused flags. */
export const REFUSED_SHORTS: ReadonlyMap<string, string> = new Map([
  ["r", "recursive"],
  ["I", "include-files"],
]);

/**
 * Query parameters that carry signatures, not content: two URLs that differ only in them name one task.
 * Source: Dragonfly's default list for dfget and its proxy, client 1.5.10.
 */
export const DEFAULT_FILTERED_QUERY_PARAMS: readonly string[] = `
  X-Amz-Algorithm X-Amz-Credential X-Amz-Date X-Amz-Expires X-Amz-SignedHeaders X-Amz-Signature X-Amz-Security-Token X-Amz-User-Agent
  X-Goog-Algorithm X-Goog-Credential X-Goog-Date X-Goog-Expires X-Goog-SignedHeaders X-Goog-Signature
  OSSAccessKeyId Expires Signature SecurityToken
  AccessKeyId X-Obs-Date X-Obs-Security-Token
  q-sign-algorithm q-ak q-sign-time q-key-time q-header-list q-url-param-list q-signature x-cos-security-token
  ns
`
  .trim()
  .split(/\s+/);

function refuse(reason: string, names: readonly string[]): (readonly [string, string])[] {
  return names.map((name) => [name, reason] as const);
}
