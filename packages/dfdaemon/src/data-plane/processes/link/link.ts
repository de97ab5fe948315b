import { DaemonError } from "../../../errors.ts";
import type { Channel } from "./channel.ts";
import { decodeFault, encodeFault, type Fault } from "./fault.ts";

/** What one side can be asked, by name: each takes one value of plain data and answers with another. */
// oxlint-disable-next-line typescript/no-explicit-any -- each method has types of its own
export type Methods = Readonly<Record<string, (params: any) => unknown>>;

/** Methods as one side implements them: with a signal that aborts when nobody waits for the answer any more, and awaited. */
export type Handlers<Implemented> = {
  readonly [Name in keyof Implemented]: Implemented[Name] extends (
    params: infer Params,
  ) => infer Result
    ? (params: Params, signal: AbortSignal) => Result | Promise<Result>
    : never;
};

type ParamsOf<Method> = Method extends (params: infer Params) => unknown ? Params : never;
type ResultOf<Method> = Method extends (params: never) => infer Result ? Result : never;

type Message =
  | { readonly kind: "call"; readonly id: number; readonly name: string; readonly params: unknown }
  | { readonly kind: "note"; readonly name: string; readonly params: unknown }
  /** The caller does not need the answer any more; it comes all the same. */
  | { readonly kind: "cancel"; readonly id: number }
  | { readonly kind: "result"; readonly id: number; readonly value: unknown }
  | { readonly kind: "fault"; readonly id: number; readonly fault: Fault };

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Calls between two processes, both ways over one channel. `Remote` is what the other side can be asked, `Local` what this one answers.
 *
 * A call settles when the other side has answered, or the channel has closed: never before, also when its signal aborts, so that a caller
 * knows that nothing goes on for it over there.
 */
export class Link<Remote extends Methods, Local extends Methods> {
  readonly #channel: Channel;
  readonly #handlers: Handlers<Local>;
  readonly #pending = new Map<number, Pending>();
  /** Calls of the other side that are being answered. */
  readonly #answering = new Map<number, AbortController>();
  #nextId = 1;
  #lost: (() => Error) | undefined;

  /** @param options.lost makes the error that calls fail with once the channel has closed */
  constructor(options: {
    readonly channel: Channel;
    readonly handlers: Handlers<Local>;
    readonly lost: () => Error;
  }) {
    const { channel, handlers, lost } = options;
    this.#channel = channel;
    this.#handlers = handlers;
    channel.onMessage = (message) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the other side runs this very file
      this.#onMessage(message as Message);
    };
    void channel.closed.then(() => this.#onClosed(lost));
  }

  /** Calls that wait for an answer of the other side. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /**
   * @throws what the other side threw, as the same class where it is one of ours
   * @throws the signal's reason, when that aborted, once the other side has stopped
   * @throws what `lost` makes, when the channel closes
   */
  async call<Name extends keyof Remote & string>(
    name: Name,
    params: ParamsOf<Remote[Name]>,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ResultOf<Remote[Name]>> {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#lost !== undefined) throw this.#lost();
    const id = this.#nextId++;
    const cancel = (): void => this.#send({ kind: "cancel", id });
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      const answer = new Promise<unknown>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
      });
      this.#send({ kind: "call", id, name, params });
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the other side runs this very file
      return (await answer) as ResultOf<Remote[Name]>;
    } catch (error) {
      if (this.#lost === undefined) signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Asks for something that has no answer. Dropped once the channel has closed. */
  note<Name extends keyof Remote & string>(name: Name, params: ParamsOf<Remote[Name]>): void {
    this.#send({ kind: "note", name, params });
  }

  #send(message: Message): void {
    this.#channel.send(message);
  }

  #onMessage(message: Message): void {
    switch (message.kind) {
      case "call":
        void this.#answer(message.id, message.name, message.params);
        return;
      case "note":
        // Nobody is there to hear of a failure: handlers of notes do not throw.
        void this.#handle(message.name, message.params, NEVER);
        return;
      case "cancel":
        this.#answering.get(message.id)?.abort(cancelled());
        return;
      case "result":
        this.#settle(message.id)?.resolve(message.value);
        return;
      case "fault":
        this.#settle(message.id)?.reject(decodeFault(message.fault));
        return;
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  async #answer(id: number, name: string, params: unknown): Promise<void> {
    const controller = new AbortController();
    this.#answering.set(id, controller);
    try {
      const value = await this.#handle(name, params, controller.signal);
      this.#send({ kind: "result", id, value });
    } catch (error) {
      this.#send({ kind: "fault", id, fault: encodeFault(error) });
    } finally {
      this.#answering.delete(id);
    }
  }

  async #handle(name: string, params: unknown, signal: AbortSignal): Promise<unknown> {
    const handler = this.#handlers[name];
    if (handler === undefined) throw new TypeError(`Cannot answer: nothing is called ${name}`);
    return await handler(params, signal);
  }

  #onClosed(lost: () => Error): void {
    this.#lost = lost;
    for (const { reject } of this.#pending.values()) reject(lost());
    this.#pending.clear();
    for (const controller of this.#answering.values()) controller.abort(lost());
  }
}

function cancelled(): DaemonError {
  return new DaemonError("ERR_CLOSED", "Cannot go on: nobody waits for it any more");
}

const NEVER = new AbortController().signal;
