/** Why bytes are not a packet. Stable API: callers switch on it. */
export type VortexErrorCode =
  /** The header announces a length that its tag does not allow, or that is over a cap. */
  | "ERR_VALUE_LENGTH"
  /** The value contradicts itself, or holds a number that is out of range. */
  | "ERR_VALUE"
  /** A text is not UTF-8. */
  | "ERR_TEXT"
  /** The bytes end inside a packet. */
  | "ERR_TRUNCATED"
  /** The bytes go on after a packet that should be the only one. */
  | "ERR_SURPLUS";

/** Thrown by everything here that decodes. The bytes after the fault mean nothing: the connection is lost. */
export class VortexError extends Error {
  override readonly name = "VortexError";
  readonly code: VortexErrorCode;

  constructor(code: VortexErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
