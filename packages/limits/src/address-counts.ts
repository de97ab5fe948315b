import { toAddressGroup } from "./address-group.ts";

export interface AddressCountsOptions {
  /** From all addresses together. */
  readonly countMax: number;
  /** From one address group; half of `countMax` is a good choice: one host does not keep all others out, and a cluster behind one NAT fits in. */
  readonly perAddressMax: number;
}

/** Counts what is held by whom, so that neither all together nor one address holds too much. */
export class AddressCounts {
  readonly #countMax: number;
  readonly #perAddressMax: number;
  readonly #counts = new Map<string, number>();
  #count = 0;

  constructor({ countMax, perAddressMax }: AddressCountsOptions) {
    this.#countMax = countMax;
    this.#perAddressMax = perAddressMax;
  }

  /** Held at this moment. */
  get count(): number {
    return this.#count;
  }

  /** Addresses that hold something. */
  get addressCount(): number {
    return this.#counts.size;
  }

  /** Which bound one more from this address would break, its own first; undefined: none. */
  excess(ip: string): "address" | "all" | undefined {
    const count = this.#counts.get(toAddressGroup(ip)) ?? 0;
    if (count >= this.#perAddressMax) return "address";
    return this.#count >= this.#countMax ? "all" : undefined;
  }

  /** Counts one more, whatever the bounds. @returns what takes it back, once */
  add(ip: string): () => void {
    const address = toAddressGroup(ip);
    this.#count += 1;
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#count -= 1;
      const rest = (this.#counts.get(address) ?? 1) - 1;
      if (rest > 0) this.#counts.set(address, rest);
      else this.#counts.delete(address);
    };
  }
}
