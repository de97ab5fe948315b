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
}
