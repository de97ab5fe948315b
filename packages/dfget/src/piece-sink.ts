/** Takes the bytes of a download that dfget writes itself. One piece is written at a time. */
export interface PieceSink extends AsyncDisposable {
  /**
   * Puts `bytes` at `offset` of the output; pieces may come in any order, none twice. `bytes` are the sink's until it resolves,
   * which may be after they were copied elsewhere to wait for their turn.
   */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /**
   * Makes the output complete, after every byte was written.
   *
   * @throws {DfgetError} `ERR_DIGEST_MISMATCH`, `ERR_OUTPUT`
   */
  finish(): Promise<void>;
  /**
   * Takes everything back, because the file has changed at the origin and comes again from the beginning. The sink is of no use after it.
   *
   * @throws {DfgetError} `ERR_OUTPUT` if bytes are out that cannot be taken back
   */
  discard(): Promise<void>;
}
