import { toAddressGroup } from "./address-group.ts";

/** Those that nobody needs at this moment, in the order in which they became idle, of all and of each address. */
export class IdleQueue<Connection> {
  readonly #groups = new Map<Connection, string>();
  readonly #byGroup = new Map<string, Set<Connection>>();

  get count(): number {
    return this.#groups.size;
  }

  /** From now on it is idle; if it was, it is the latest again. */
  add(connection: Connection, ip: string): void {
    this.delete(connection);
    const group = toAddressGroup(ip);
    this.#groups.set(connection, group);
    const others = this.#byGroup.get(group);
    if (others === undefined) this.#byGroup.set(group, new Set([connection]));
    else others.add(connection);
  }

  /** It is in use, or gone. Idempotent. */
  delete(connection: Connection): void {
    const group = this.#groups.get(connection);
    if (group === undefined) return;
    this.#groups.delete(connection);
    const others = this.#byGroup.get(group);
    others?.delete(connection);
    if (others?.size === 0) this.#byGroup.delete(group);
  }

  /** The one that has been idle for longest: of this address, or of all; undefined: none is idle. */
  oldest(ip?: string): Connection | undefined {
    const from =
      ip === undefined ? this.#groups.keys() : (this.#byGroup.get(toAddressGroup(ip)) ?? []);
    for (const connection of from) return connection;
    return undefined;
  }
}
