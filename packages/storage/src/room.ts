import type { Accounting } from "./accounting.ts";
import { Serial } from "./serial.ts";

/** Bytes that somebody is about to write: as good as taken. */
export interface Claim {
  /** Fewer as they are written. */
  bytes: number;
  /** They are counted elsewhere from now on, or nobody needs them. */
  release(): void;
}

/** Promises room, to one after the other: two who were shown at once what is left would both take it. */
export class Room {
  readonly #accounting: Accounting;
  readonly #tasksBytes: () => number;
  readonly #claims = new Set<Claim>();
  readonly #decisions = new Serial();

  /** @param tasksBytes what is still to come for tasks that are being fetched */
  constructor(accounting: Accounting, tasksBytes: () => number) {
    this.#accounting = accounting;
    this.#tasksBytes = tasksBytes;
  }

  /** All that is promised and not there yet. */
  get reservedBytes(): number {
    let sum = this.#tasksBytes();
    for (const { bytes } of this.#claims) sum += bytes;
    return sum;
  }

  /**
   * @param action what could not be done without, as in "create task …"
   * @throws {NoRoomError}
   * @throws {StorageError} if the disk cannot be asked
   */
  claim(action: string, bytes: number): Promise<Claim> {
    return this.#decisions.run(async () => {
      await this.#accounting.assertRoom(action, {
        bytes,
        reservedBytes: () => this.reservedBytes,
      });
      const claim: Claim = { bytes, release: () => void this.#claims.delete(claim) };
      this.#claims.add(claim);
      return claim;
    });
  }
}
