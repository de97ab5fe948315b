import type { Host__Output } from "@damselfly/rpc";
import { SchedulerError } from "./errors.ts";
import { guestFacts, Host } from "./host.ts";
import type { Logger } from "./logger.ts";
import { full, type Room } from "./room.ts";
import type { SchedulerConfig } from "./scheduler-config.ts";
import type { SchedulerLimits } from "./scheduler-limits.ts";
import { textLengthOf } from "./text-length.ts";

export interface Announcement {
  /** Until the next one; absent: the host keeps for `hostTtlMs`. */
  readonly intervalMs?: number;
  /** Forget the rival and its peers: it is known to be gone. */
  readonly evict?: boolean;
  /** Whoever announces it has shown its certificate. */
  readonly certified?: boolean;
  /** Of whoever announces it. */
  readonly address?: string;
}

export interface HostDirectoryOptions {
  readonly config: Pick<SchedulerConfig, "hostTtlMs">;
  readonly limits: Pick<SchedulerLimits, "hostLifetimeMsMax">;
  readonly room: Room;
  /** Milliseconds since 1970; never goes back. */
  readonly now: () => number;
  /** Called when a host has been forgotten: its peers are still there. */
  readonly onLeft: (host: Host) => void;
  readonly logger: Logger;
}

/** The hosts that are known: those that have announced themselves, for as long as they go on doing so, and guests of whom there is but the name. */
export class HostDirectory {
  readonly #options: HostDirectoryOptions;
  readonly #hosts = new Map<string, Host>();
  readonly #seeds = new Set<Host>();

  constructor(options: HostDirectoryOptions) {
    this.#options = options;
  }

  /** Those that have announced themselves. */
  get announced(): Host[] {
    return [...this.#hosts.values()].filter((host) => !host.isGuest);
  }

  /** Those among them that are seeds, at any time. */
  get seeds(): ReadonlySet<Host> {
    return this.#seeds;
  }

  get(id: string): Host | undefined {
    return this.#hosts.get(id);
  }

  /** @throws {SchedulerError} `ERR_HOST_NOT_FOUND` */
  require(id: string): Host {
    const host = this.#hosts.get(id);
    if (host !== undefined) return host;
    throw new SchedulerError("ERR_HOST_NOT_FOUND", `host ${id} not found`);
  }

  /** The living daemon that has this one's id at another address, if there is one. */
  rivalOf(facts: Host__Output): Host | undefined {
    const known = this.#hosts.get(facts.id);
    if (known === undefined || known.isGuest || known.expiresAtMs <= this.#options.now()) {
      return undefined;
    }
    return known.facts.ip === facts.ip && known.facts.port === facts.port ? undefined : known;
  }

  /** @throws {SchedulerError} `ERR_HOST_TAKEN`, `ERR_FULL` */
  announce(facts: Host__Output, announcement: Announcement): Host {
    const { intervalMs, evict = false, certified = false, address = "" } = announcement;
    const { config, limits, room, now, logger } = this.#options;
    const rival = this.rivalOf(facts);
    if (rival !== undefined && !evict) {
      const { ip, port } = rival.facts;
      throw new SchedulerError(
        "ERR_HOST_TAKEN",
        `Cannot announce host ${facts.id} at ${facts.ip}:${facts.port}: a daemon at ${ip}:${port} has this id; two daemons on one machine need different hostnames`,
      );
    }
    if (rival !== undefined) {
      logger.warn(
        { host: facts.id, ip: facts.ip, port: facts.port, formerPort: rival.facts.port },
        "host has come back at another address, forgetting what it had",
      );
      this.remove(rival);
    }
    const lifetimeMs =
      intervalMs === undefined
        ? config.hostTtlMs
        : Math.min(2 * intervalMs, limits.hostLifetimeMsMax);
    const expiresAtMs = now() + lifetimeMs;
    const host = this.#hosts.get(facts.id) ?? this.#create({ facts, expiresAtMs, address });
    room.holdHost(host, textLengthOf(facts));
    host.facts = facts;
    host.expiresAtMs = expiresAtMs;
    host.certified = certified;
    this.#hosts.set(host.id, host);
    if (host.isSeed) this.#seeds.add(host);
    else this.#seeds.delete(host);
    return host;
  }

  /**
   * A host that has not announced itself. Dragonfly's daemons announce themselves every five minutes, whether the scheduler was started
   * anew meanwhile or not, and go to the origin when it does not know them: they may download all the same. Ours, which take parents that
   * they did not ask for, announce themselves when they are told.
   *
   * @throws {SchedulerError} `ERR_HOST_NOT_FOUND`, `ERR_FULL`
   */
  receive(guest: {
    readonly hostId: string;
    readonly takesPushes: boolean;
    readonly address?: string;
  }): Host {
    const { hostId, takesPushes, address = "" } = guest;
    if (takesPushes) return this.require(hostId);
    const { config, room, now } = this.#options;
    const facts = guestFacts(hostId);
    const host = this.#create({ facts, expiresAtMs: now() + config.hostTtlMs, address });
    room.holdHost(host, textLengthOf(facts));
    this.#hosts.set(hostId, host);
    return host;
  }

  remove(host: Host): void {
    this.#hosts.delete(host.id);
    this.#seeds.delete(host);
    this.#options.room.dropHost(host);
    this.#options.onLeft(host);
  }

  /** Forgets those that have not announced themselves in time. */
  forgetExpired(nowMs: number): void {
    for (const host of this.#hosts.values()) {
      if (host.expiresAtMs > nowMs) continue;
      this.#options.logger.warn({ host: host.id }, "host has not announced itself, forgetting it");
      this.remove(host);
    }
  }

  /** Forgets all, and tells nobody. */
  clear(): void {
    this.#hosts.clear();
    this.#seeds.clear();
  }

  /** @throws {SchedulerError} `ERR_FULL` */
  #create(init: {
    readonly facts: Host__Output;
    readonly expiresAtMs: number;
    readonly address: string;
  }): Host {
    const { room } = this.#options;
    if (!room.hasRoomForHost(init.address)) {
      // Nothing is lost with one of whom nobody has heard but its name.
      for (const host of this.#hosts.values()) {
        if (!host.isGuest || host.peers.size > 0) continue;
        this.remove(host);
        if (room.hasRoomForHost(init.address)) break;
      }
    }
    if (!room.hasRoomForHost(init.address)) throw full("further hosts");
    return new Host(init);
  }
}
