import { AddressCounts, IdleQueue } from "@damselfly/limits";
import type { QuicConnection } from "@damselfly/quic";
import type { ServerLimits } from "@damselfly/transport";
import { ConnectionCode } from "./codes.ts";

/** Less than that after its last answer a connection is not closed for another: the answer may still be on its way. Milliseconds. */
const REST_MS = 1_000;
/** A connection for which there is no place is there for so long, to be told so. Milliseconds. */
const FAREWELL_MS = 2_000;

interface Place {
  readonly ip: string;
  requestCount: number;
  /** It has one that another could have: it was let in, and not refused. */
  isTaken: boolean;
  /** Since when nothing runs on it. */
  idleAt: number;
  /** Why nothing is served on it; undefined: it is. */
  busy: string | undefined;
}

/**
 * Who may be connected: one too many takes the place of the connection that has been idle for longest, once it is known who it is.
 * Where all are in use its requests are answered as busy, and it is closed soon.
 */
export class ConnectionPlaces {
  readonly #counts: AddressCounts;
  readonly #now: () => number;
  readonly #places = new Map<QuicConnection, Place>();
  readonly #idle = new IdleQueue<QuicConnection>();
  #refusedCount = 0;

  /** @param options.now milliseconds of a clock that does not run backwards */
  constructor(options: {
    readonly limits: Pick<ServerLimits, "connectionCountMax" | "connectionsPerAddressMax">;
    readonly now: () => number;
  }) {
    const { connectionCountMax: countMax, connectionsPerAddressMax: perAddressMax } =
      options.limits;
    this.#counts = new AddressCounts({ countMax, perAddressMax });
    this.#now = options.now;
  }

  /** Connections for which there was no place, so far. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  add(connection: QuicConnection): void {
    const { ip } = connection.remoteAddress;
    const place: Place = {
      ip,
      requestCount: 0,
      isTaken: false,
      idleAt: this.#now(),
      busy: undefined,
    };
    this.#places.set(connection, place);
    // A recorded first flight, sent again by anybody, costs nobody a place.
    if (connection.isEarly) {
      connection.established.then(
        () => this.#admit(connection, place),
        () => undefined, // it comes to its end below
      );
    } else {
      this.#admit(connection, place);
    }
    void connection.closed.then(() => {
      this.#places.delete(connection);
      this.#idle.delete(connection);
    });
  }

  /**
   * A request has come.
   *
   * @returns why it is not served, if it is not, and what to call when it is over
   */
  begin(connection: QuicConnection): {
    readonly busy: string | undefined;
    readonly end: () => void;
  } {
    const place = this.#places.get(connection);
    if (place === undefined) return { busy: undefined, end: () => {} }; // closed meanwhile
    place.requestCount += 1;
    this.#idle.delete(connection);
    return {
      busy: place.busy,
      end: () => {
        place.requestCount -= 1;
        if (place.requestCount > 0 || !this.#places.has(connection)) return;
        place.idleAt = this.#now();
        if (place.isTaken) this.#idle.add(connection, place.ip);
      },
    };
  }

  #admit(connection: QuicConnection, place: Place): void {
    if (!this.#places.has(connection)) return;
    const excess = this.#counts.excess(place.ip);
    void connection.closed.then(this.#counts.add(place.ip));
    if (excess === undefined || this.#makeRoom(excess === "all" ? undefined : place.ip)) {
      place.isTaken = true;
      if (place.requestCount === 0) this.#idle.add(connection, place.ip);
      return;
    }
    this.#refusedCount += 1;
    const whose = excess === "all" ? "" : " from this address";
    place.busy = `there are too many connections${whose}`;
    const close = (): void => connection.close(ConnectionCode.Done, place.busy);
    setTimeout(close, FAREWELL_MS).unref();
  }

  #makeRoom(ip: string | undefined): boolean {
    const oldest = this.#idle.oldest(ip);
    const place = oldest === undefined ? undefined : this.#places.get(oldest);
    if (oldest === undefined || place === undefined) return false;
    if (this.#now() - place.idleAt < REST_MS) return false;
    this.#idle.delete(oldest);
    oldest.close(ConnectionCode.Done, "others need its place");
    return true;
  }
}
