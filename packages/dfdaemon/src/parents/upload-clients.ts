import { createDfdaemonUploadClient, type DfdaemonUploadClient } from "@damselfly/rpc";
import type { Tls } from "@damselfly/transport";
import { PeerManners, type Daemon } from "./peer-manners.ts";

/** A connection nobody uses is kept this long for the next task. Milliseconds. */
const IDLE_MS = 60_000;

/** What another daemon says at once: a piece, or where to fetch. Bytes. */
const MESSAGE_LENGTH_MAX = 1 << 20;

/** Control connections to other daemons, one each, shared by all tasks. */
export class UploadClients implements AsyncDisposable {
  readonly #tls: Tls | undefined;
  readonly #manners: PeerManners;
  readonly #entries = new Map<string, Entry>();

  /** @param options.plainPeers daemons that do not speak TLS are spoken to without it */
  constructor(options: {
    readonly tls?: Tls | undefined;
    readonly plainPeers?: boolean;
    readonly manners?: PeerManners;
  }) {
    this.#tls = options.tls;
    const { plainPeers = options.tls === undefined } = options;
    this.#manners = options.manners ?? new PeerManners({ tls: options.tls, plainPeers });
  }

  /**
   * A client of that daemon; with TLS its certificate must name `hostname`. Release it when done. Where nobody knows yet whether it speaks
   * TLS, finding out takes up to a second.
   */
  async acquire(daemon: Daemon): Promise<HeldClient> {
    const isSecure = (await this.#manners.of(daemon)) === "tls";
    const key = JSON.stringify([daemon.ip, daemon.port, daemon.hostname, isSecure]);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const options =
        isSecure && this.#tls !== undefined
          ? { tls: this.#tls, expectedHostname: daemon.hostname }
          : {};
      const channelOptions = { "grpc.max_receive_message_length": MESSAGE_LENGTH_MAX };
      entry = {
        client: createDfdaemonUploadClient(
          { ip: daemon.ip, port: daemon.port },
          { ...options, channelOptions },
        ),
        userCount: 0,
        idle: undefined,
      };
      this.#entries.set(key, entry);
    }
    const held = entry;
    clearTimeout(held.idle);
    held.userCount += 1;
    let released = false;
    return {
      client: held.client,
      isSecure,
      release: () => {
        if (released) return;
        released = true;
        held.userCount -= 1;
        if (held.userCount > 0) return;
        held.idle = setTimeout(() => {
          this.#entries.delete(key);
          void held.client[Symbol.asyncDispose]();
        }, IDLE_MS).unref();
      },
    };
  }

  /** Why a daemon that does not answer to TLS is not spoken to without it; undefined where that is not why. */
  async whyNotPlain(daemon: Daemon): Promise<string | undefined> {
    return await this.#manners.whyNotPlain(daemon);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { idle } of entries) clearTimeout(idle);
    await Promise.all(entries.map(({ client }) => client[Symbol.asyncDispose]()));
  }
}

/** The use of a connection that others use too. */
export interface HeldClient {
  readonly client: DfdaemonUploadClient;
  /** Both ends show certificates. */
  readonly isSecure: boolean;
  release(): void;
}

interface Entry {
  readonly client: DfdaemonUploadClient;
  userCount: number;
  idle: NodeJS.Timeout | undefined;
}
