import { performance } from "node:perf_hooks";
import type { NativeConnection } from "./binding.ts";
import type { QuicError } from "./errors.ts";
import type { QuicEarlyData } from "./quic.ts";

/**
 * How far the handshake of one connection has come, and what became of early data (0-RTT).
 *
 * The binding has no word for "refused": it can be told from early data ending before the handshake does, or from a
 * finished handshake that did not resume what the ticket stood for.
 */
export class Handshake {
  /** Rejects when the connection ends before the handshake does; nobody has to listen. */
  readonly established: Promise<void>;
  readonly #native: NativeConnection;
  readonly #isDialler: boolean;
  readonly #startedAt = performance.now();
  #state: "pending" | "early" | "established" | "failed";
  #earlyData: QuicEarlyData;
  /** Whether the dialled peer was offered early data. */
  #isOffered = false;
  #durationMs = 0;
  #resolve!: () => void;
  #reject!: (error: QuicError) => void;

  /** @param init.isResuming whether a ticket was given to the binding: data may leave at once */
  constructor(
    native: NativeConnection,
    init: { readonly isDialler: boolean; readonly isResuming: boolean },
  ) {
    this.#native = native;
    this.#isDialler = init.isDialler;
    this.#state = init.isResuming ? "early" : "pending";
    this.#earlyData = init.isResuming ? "pending" : "none";
    this.established = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.established.catch(() => undefined); // the same error meets whoever uses the connection
  }

  /** Before the end of the handshake, but not before data can travel. */
  get isEarly(): boolean {
    return this.#state === "early";
  }

  get isRunning(): boolean {
    return this.#state === "pending" || this.#state === "early";
  }

  get earlyData(): QuicEarlyData {
    return this.#earlyData;
  }

  /** How long it took; 0 before it is over. Milliseconds. */
  get durationMs(): number {
    return this.#durationMs;
  }

  /** To be called after every packet in, while it is running. */
  afterReceive(): void {
    if (!this.#isOffered || this.#native.isInEarlyData() || this.#native.isEstablished()) return;
    this.#earlyData = "refused";
  }

  /** To be called after packets have left, while it is running. */
  afterSend(): void {
    if (this.#isDialler && this.#state === "early")
      this.#isOffered ||= this.#native.isInEarlyData();
  }

  /** What has been reached and not been entered yet, if anything. */
  get next(): "early" | "established" | undefined {
    const native = this.#native;
    if (native.isDraining()) return undefined;
    if (native.isEstablished()) return "established";
    if (this.#isDialler || this.#state === "early") return undefined;
    return native.isInEarlyData() && native.isReadable() ? "early" : undefined;
  }

  enter(state: "early" | "established"): void {
    this.#state = state;
    if (state === "early") {
      this.#earlyData = "pending";
      return;
    }
    this.#durationMs = performance.now() - this.#startedAt;
    if (this.#earlyData === "pending") {
      const isTaken = !this.#isDialler || (this.#isOffered && this.#native.isResumed());
      this.#earlyData = isTaken ? "accepted" : "refused";
    }
    this.#resolve();
  }

  /** The connection is over. */
  fail(error: QuicError): void {
    if (!this.isRunning) return;
    this.#state = "failed";
    this.#reject(error);
  }
}
