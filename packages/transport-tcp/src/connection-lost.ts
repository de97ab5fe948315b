/** A connection broke under a request, before the announcement was complete. Does not leave this package. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  /** Not even the header of an answer had come. */
  readonly isUnanswered: boolean;

  constructor(
    message: string,
    options: { readonly isUnanswered: boolean; readonly cause: unknown },
  ) {
    super(message, { cause: options.cause });
    this.isUnanswered = options.isUnanswered;
  }
}
