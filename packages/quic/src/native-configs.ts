import { randomBytes } from "node:crypto";
import type { NativeConfig, QuicheBinding } from "./binding.ts";
import type { ResolvedOptions } from "./endpoint-options.ts";
import { createNativeConfig, type Credentials } from "./native-config.ts";
import type { QuicCongestionControl } from "./quic.ts";

const TICKET_KEY_LENGTH = 48;
/** Who gets hold of the key can read the early data that was sealed by it. Tickets are used for an hour. */
const TICKET_KEY_AGE_MAX_MS = 24 * 60 * 60 * 1000;

/**
 * One endpoint's configurations of the binding: packet length and congestion control are fixed there, not by
 * connection. They share a ticket key, for a ticket to be good whichever of them issued it.
 */
export class NativeConfigs {
  readonly #quiche: QuicheBinding;
  readonly #credentials: Credentials;
  readonly #options: ResolvedOptions;
  readonly #configs = new Map<string, NativeConfig>();
  #ticketKey: Uint8Array;
  #ticketKeyMadeAt: number;

  constructor(quiche: QuicheBinding, credentials: Credentials, options: ResolvedOptions) {
    this.#quiche = quiche;
    this.#credentials = credentials;
    this.#options = options;
    this.#ticketKey = Uint8Array.from(options.ticketKey ?? randomBytes(TICKET_KEY_LENGTH));
    this.#ticketKeyMadeAt = Date.now();
  }

  /** For a connection with packets of up to `packetLength` bytes, in either direction. */
  get(packetLength: number, congestionControl: QuicCongestionControl): NativeConfig {
    this.#renewTicketKey();
    const key = `${packetLength} ${congestionControl}`;
    let config = this.#configs.get(key);
    if (config === undefined) {
      config = createNativeConfig(
        this.#quiche,
        this.#credentials,
        this.#options,
        packetLength,
        congestionControl,
      );
      config.setTicketKey(this.#ticketKey);
      this.#configs.set(key, config);
    }
    return config;
  }

  #renewTicketKey(): void {
    const now = Date.now();
    if (this.#options.ticketKey !== undefined) return;
    if (now - this.#ticketKeyMadeAt < TICKET_KEY_AGE_MAX_MS) return;
    this.#ticketKey = randomBytes(TICKET_KEY_LENGTH);
    this.#ticketKeyMadeAt = now;
    for (const config of this.#configs.values()) config.setTicketKey(this.#ticketKey);
  }
}
