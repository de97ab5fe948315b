import { createDfdaemonUploadClient, type DfdaemonUploadClient } from "@damselfly/rpc";
import type { TlsIdentity } from "@damselfly/transport";

/** A connection nobody uses is kept this long for the next task. Milliseconds. */
const IDLE_MS = 60_000;

/** Control connections to other daemons, one each, shared by all tasks. */
export class UploadClients implements AsyncDisposable {
  readonly #tls: TlsIdentity | undefined;
  readonly #entries = new Map<string, Entry>();

  constructor(options: { readonly tls?: TlsIdentity | undefined }) {
    this.#tls = options.tls;
  }

  /** A client of that daemon; with TLS its certificate must name `hostname`. Release it when done. */
  acquire(daemon: { readonly ip: string; readonly port: number; readonly hostname: string }): {
    readonly client: DfdaemonUploadClient;
    release(): void;
  } {
    const key = JSON.stringify([daemon.ip, daemon.port, daemon.hostname]);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const options =
        this.#tls === undefined ? {} : { tls: this.#tls, expectedHostname: daemon.hostname };
      entry = {
        client: createDfdaemonUploadClient({ ip: daemon.ip, port: daemon.port }, options),
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

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { idle } of entries) clearTimeout(idle);
    await Promise.all(entries.map(({ client }) => client[Symbol.asyncDispose]()));
  }
}

interface Entry {
  readonly client: DfdaemonUploadClient;
  userCount: number;
  idle: NodeJS.Timeout | undefined;
}
