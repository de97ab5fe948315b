/** Carries messages between two processes of one daemon, both ways and in order. Private: never a network. */
export interface Channel {
  /** Messages are plain data (structured clone). What is sent once it has closed is dropped. */
  send(message: unknown): void;
  /** Called with each message, one after the other; what came before it was set waits. Must not throw. */
  onMessage: ((message: unknown) => void) | undefined;
  /** Resolves when no message will come any more, whoever closed it. Never rejects. */
  readonly closed: Promise<void>;
  /** Idempotent. What was sent before still goes out. */
  close(): void;
}
