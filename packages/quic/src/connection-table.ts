import type { QuicheConnection } from "./quiche-connection.ts";

/** Finds the connection that a datagram is for. */
export class ConnectionTable {
  readonly #byKey = new Map<string, QuicheConnection>();
  /** Those dialled here, by the peer's address: a stateless reset carries no id that is known on this side. */
  readonly #dialled = new Map<string, Set<QuicheConnection>>();

  add(connection: QuicheConnection): void {
    for (const key of connection.keys) this.#byKey.set(key, connection);
    if (!connection.isDialler) return;
    const { ip, port } = connection.remoteAddress;
    const name = `${ip} ${port}`;
    const others = this.#dialled.get(name);
    if (others === undefined) this.#dialled.set(name, new Set([connection]));
    else others.add(connection);
  }

  delete(connection: QuicheConnection): void {
    for (const key of connection.keys) {
      if (this.#byKey.get(key) === connection) this.#byKey.delete(key);
    }
    if (!connection.isDialler) return;
    const { ip, port } = connection.remoteAddress;
    const name = `${ip} ${port}`;
    const others = this.#dialled.get(name);
    others?.delete(connection);
    if (others?.size === 0) this.#dialled.delete(name);
  }

  addKey(connection: QuicheConnection, key: string): void {
    connection.keys.add(key);
    this.#byKey.set(key, connection);
  }

  deleteKey(connection: QuicheConnection, key: string): void {
    connection.keys.delete(key);
    if (this.#byKey.get(key) === connection) this.#byKey.delete(key);
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  find(key: string): QuicheConnection | undefined {
    return this.#byKey.get(key);
  }

  /** Connections dialled to this address. A dialled peer does not move. */
  dialledTo(ip: string, port: number): Iterable<QuicheConnection> {
    return this.#dialled.get(`${ip} ${port}`) ?? [];
  }
}
