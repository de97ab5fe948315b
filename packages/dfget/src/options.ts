/** What the user asks for, checked and with the defaults filled in. */
export interface DownloadOptions {
  /** WHATWG-serialised. */
  readonly url: string;
  /** As given; `-` is standard output. */
  readonly output: string;
  readonly range: RequestedRange | undefined;
  readonly overwrite: boolean;
  readonly digest: FileDigest | undefined;
  /** Names as given, one entry a name. */
  readonly header: Readonly<Record<string, string>>;
  readonly revalidate: boolean;
  /** PEM file, as given. */
  readonly caCertPath: string | undefined;
  readonly insecure: boolean;
  readonly timeoutMs: number;
  readonly tag: string;
  readonly application: string;
  readonly filteredQueryParams: readonly string[];
  readonly contentForTaskId: string | undefined;
  /** Bytes; undefined: the daemon chooses. */
  readonly pieceLength: number | undefined;
  readonly priority: "0" | "1" | "2" | "3" | "4" | "5" | "6";
  readonly schedulingPolicy: "auto" | "always";
  readonly disableBackToSource: boolean;
  readonly transferFromDaemon: boolean;
  readonly forceHardLink: boolean;
  /** Undefined: the node's daemon, or one that dfget starts. */
  readonly endpoint: string | undefined;
  readonly startDaemon: boolean;
  readonly json: boolean;
  readonly progress: boolean;
  readonly logLevel: string;
}

/** A part of a file, before the file's length is known. */
export type RequestedRange =
  | { readonly kind: "between"; readonly offset: number; readonly length: number }
  | { readonly kind: "from"; readonly offset: number }
  | { readonly kind: "last"; readonly length: number };

/** What a complete file must have: hex in lower case, CRC-32 in decimal. */
export interface FileDigest {
  readonly algorithm: "sha256" | "sha512" | "crc32";
  readonly value: string;
}
