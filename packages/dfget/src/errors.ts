/** Why dfget did not do what it was asked. Stable API: callers switch on it, `--json` prints it. */
export type DfgetErrorCode =
  /** The command line or the environment is wrong. Exit code 2; every other one exits with 1, or with a signal's. */
  | "ERR_USAGE"
  /** The output cannot be written: no directory, not allowed, exists already. */
  | "ERR_OUTPUT"
  /** The disk of the output has too little room. */
  | "ERR_NO_SPACE"
  /** No daemon answers at the socket, and none could be started. */
  | "ERR_DAEMON_UNREACHABLE"
  /** The daemon ended the call with an error. */
  | "ERR_DOWNLOAD"
  /** The daemon said that it is done, and pieces are missing. */
  | "ERR_INCOMPLETE"
  /** The daemon sent what the protocol does not allow. */
  | "ERR_PROTOCOL"
  /** The bytes asked for lie outside the file. */
  | "ERR_RANGE"
  /** The content is complete but not what `--digest` says. */
  | "ERR_DIGEST_MISMATCH"
  /** `--timeout` passed. */
  | "ERR_TIMEOUT"
  /** SIGHUP, SIGINT or SIGTERM. */
  | "ERR_INTERRUPTED";

/** What the origin answered, as far as the daemon passed it on. */
export interface OriginAnswer {
  readonly message: string;
  /** HTTP status; undefined if the origin was not reached. */
  readonly statusCode?: number;
  readonly header: Readonly<Record<string, string>>;
}

/** Thrown by every part of dfget. The message is for people, the code is for programs; `cause` holds the layer below. */
export class DfgetError extends Error {
  override readonly name = "DfgetError";
  readonly code: DfgetErrorCode;
  /** Name of the gRPC status that the daemon ended the call with, such as `INTERNAL`. */
  readonly status: string | undefined;
  readonly origin: OriginAnswer | undefined;

  constructor(
    code: DfgetErrorCode,
    message: string,
    options?: ErrorOptions & { readonly status?: string; readonly origin?: OriginAnswer },
  ) {
    super(message, options);
    this.code = code;
    this.status = options?.status;
    this.origin = options?.origin;
  }
}

/** The reason to abort `DfgetIo.signal` with: which signal asked dfget to stop. */
export class Interrupt extends DfgetError {
  readonly signal: InterruptSignal;

  constructor(signal: InterruptSignal) {
    super("ERR_INTERRUPTED", `Stopped by ${signal}`);
    this.signal = signal;
  }

  /** 128 and the signal's number, as a shell has it. */
  get exitCode(): number {
    return INTERRUPT_EXIT_CODES[this.signal];
  }
}

export type InterruptSignal = keyof typeof INTERRUPT_EXIT_CODES;

const INTERRUPT_EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** Code of a failed system call (`ENOENT`), or undefined if `error` is none. */
export function systemErrorCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
