/** Runs one action after another, in the order they were handed in. A failed one does not stop the next. */
export class Serial {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(action);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** A `Serial` for every key that is in use. */
export class KeyedSerial {
  readonly #serials = new Map<string, { readonly serial: Serial; users: number }>();

  async run<T>(key: string, action: () => Promise<T>): Promise<T> {
    const entry = this.#serials.get(key) ?? { serial: new Serial(), users: 0 };
    this.#serials.set(key, entry);
    entry.users++;
    try {
      return await entry.serial.run(action);
    } finally {
      entry.users--;
      if (entry.users === 0) this.#serials.delete(key);
    }
  }
}
