import { AddressCounts, type AddressCountsOptions } from "@damselfly/limits";
import { status } from "@damselfly/rpc";

/** Lets so many in at once. */
export class Seats {
  readonly #whose: string;
  readonly #counts: AddressCounts;

  /** @param whose for the error: `peers that listen for pieces` */
  constructor(whose: string, limits: AddressCountsOptions) {
    this.#whose = whose;
    this.#counts = new AddressCounts(limits);
  }

  /**
   * @returns what gives the seat back, once
   * @throws {RpcError} `RESOURCE_EXHAUSTED`
   */
  take(ip: string): () => void {
    const excess = this.#counts.excess(ip);
    if (excess === undefined) return this.#counts.add(ip);
    const where = excess === "address" ? ` from ${ip}` : "";
    throw status("RESOURCE_EXHAUSTED", `there are too many ${this.#whose}${where} already`);
  }

  /** The same messages, while there is a seat for them. */
  async *seated<Message>(
    ip: string,
    messages: AsyncIterable<Message>,
  ): AsyncGenerator<Message, void, undefined> {
    const leave = this.take(ip);
    try {
      yield* messages;
    } finally {
      leave();
    }
  }
}
