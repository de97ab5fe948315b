/** What went wrong with the files of a task. Stable API: callers switch on it. */
export type StorageErrorCode =
  /** A task id that is not 64 lower-case hex digits. */
  | "ERR_TASK_ID"
  /** The task was deleted or replaced, or the storage closed, while it was in use. */
  | "ERR_TASK_GONE"
  /** Content whose digest is not the expected one, or an expected digest that cannot be computed. */
  | "ERR_DIGEST_MISMATCH"
  /** Content longer or shorter than its piece. */
  | "ERR_PIECE_LENGTH"
  /** Bytes were asked for that are not on disk, or no longer good; fetch the missing pieces and ask again. */
  | "ERR_PIECE_MISSING"
  /** The disk or the quota of the user is full. */
  | "ERR_NO_SPACE"
  /** The file system is mounted read-only. */
  | "ERR_READ_ONLY"
  /** The process or the machine is out of file descriptors. */
  | "ERR_TOO_MANY_FILES"
  /** The disk failed, a permission is missing, or the directory has vanished; `cause` says which. */
  | "ERR_IO"
  /** Another storage, in this process or another one, has the directory open. */
  | "ERR_STORAGE_LOCKED"
  /** Written by a newer version of this package; left as it is. */
  | "ERR_STORAGE_VERSION"
  /** Something is at the output path already. */
  | "ERR_OUTPUT_EXISTS"
  /** The directory of the output path is missing, is no directory, or may not be written. */
  | "ERR_OUTPUT_DIRECTORY"
  /** A hard link was demanded and is not possible. */
  | "ERR_OUTPUT_LINK";

/**
 * Thrown by everything in this package, but for pieces served to others, which fail with `TransportError`.
 * The message is for people, the code is for programs. The failure of the layer below, if any, is in `cause`.
 */
export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The `code` of a failed system call, such as `ENOENT`; undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Translates what the file system threw; a `StorageError` passes unchanged.
 *
 * @param action what could not be done, as in "write piece 3"
 */
export function toStorageError(action: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const code = systemCode(error) ?? "";
  const detail = DETAILS[code];
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageError(detail?.code ?? "ERR_IO", `Cannot ${action}: ${detail?.text ?? reason}`, {
    cause: error,
  });
}

const DETAILS: Readonly<
  Record<string, { readonly code: StorageErrorCode; readonly text: string }>
> = {
  ENOSPC: { code: "ERR_NO_SPACE", text: "no space left on the disk" },
  EDQUOT: { code: "ERR_NO_SPACE", text: "the disk quota is used up" },
  EROFS: { code: "ERR_READ_ONLY", text: "the file system is read-only" },
  EMFILE: { code: "ERR_TOO_MANY_FILES", text: "too many files are open in this process" },
  ENFILE: { code: "ERR_TOO_MANY_FILES", text: "too many files are open on this machine" },
};
