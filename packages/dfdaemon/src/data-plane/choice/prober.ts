import {
  type ByteRange,
  type PieceRequest,
  type Protocol,
  TransportError,
  within,
} from "@damselfly/transport";
import type { KnownParent } from "./known-parent.ts";
import type { Leg } from "./moving-piece.ts";

/** For the answer to a request that only asks whether there is one. Milliseconds. */
const PROBE_MS = 5_000;
const FIRST_BYTE: ByteRange = { offset: 0, length: 1 };

export interface ProberInit {
  /** Puts a request to a parent. */
  readonly ask: (
    known: KnownParent,
    protocol: Protocol,
    about: { readonly request: PieceRequest; readonly signal: AbortSignal },
  ) => Promise<Leg>;
  /** There is no answer. */
  readonly failed: (known: KnownParent, protocol: Protocol, error: unknown) => void;
}

/** Asks in the background for one byte of a piece, to learn whether a protocol works that had no time to show it. */
export class Prober implements AsyncDisposable {
  readonly #init: ProberInit;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(init: ProberInit) {
    this.#init = init;
  }

  /** Returns at once; a protocol that is being looked at already is not looked at twice. */
  probe(known: KnownParent, protocol: Protocol, request: PieceRequest): void {
    if (known.probes.has(protocol) || this.#closing.signal.aborted) return;
    known.probes.add(protocol);
    const probing = this.#probe(known, protocol, request).finally(() => {
      known.probes.delete(protocol);
      this.#running.delete(probing);
    });
    this.#running.add(probing);
  }

  /** Gives up what runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new TransportError("ERR_CLOSED", "Cannot go on: nobody wants to know"));
    await Promise.all(this.#running);
  }

  /** Never rejects. */
  async #probe(known: KnownParent, protocol: Protocol, request: PieceRequest): Promise<void> {
    const { signal } = this.#closing;
    const ending = new AbortController();
    const asking = this.#init.ask(known, protocol, {
      request: { ...request, range: FIRST_BYTE },
      signal: ending.signal,
    });
    try {
      const expired = (): Error =>
        new TransportError("ERR_PARENT_UNREACHABLE", `no answer in ${PROBE_MS} ms`);
      const { download } = await within(asking, { ms: PROBE_MS, signal, expired });
      for await (const _ of download.content); // to its end, so that the connection is of use
    } catch (error) {
      ending.abort(error);
      if (!signal.aborted) this.#init.failed(known, protocol, error);
      asking.then(
        ({ download }) => download[Symbol.asyncDispose](),
        () => undefined, // told above
      );
    }
  }
}
