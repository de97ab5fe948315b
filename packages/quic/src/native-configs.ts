import { randomBytes } from "node:crypto";
import type { NativeConfig, QuicheBinding } from "./binding.ts";
import type { ResolvedOptions } from "./endpoint-options.ts";
import { type ConnectionTraits, createNativeConfig, type Credentials } from "./native-config.ts";
import { QuicError } from "./errors.ts";
import { PACKET_LENGTH_MIN } from "./endpoint-options.ts";
import { TICKET_AGE_MAX_MS } from "./ticket.ts";

const TICKET_KEY_LENGTH = 48;

/**
 * One endpoint's configurations of the binding, where some things are fixed that differ by connection. They share a ticket key, for a ticket to be good whichever of them issued it. It is thrown away after an
 * hour, and with it all tickets, those that were got by tickets too: a peer shows its certificate once an hour, and who
 * gets hold of the key can read no more early data than of that time.
 */
export class NativeConfigs {
  readonly #quiche: QuicheBinding;
  #credentials: Credentials;
  readonly #options: ResolvedOptions;
  readonly #configs = new Map<string, NativeConfig>();
  #ticketKey: Uint8Array;
  #ticketKeyMadeAt: number;
  #isTicketKeyGiven: boolean;

  /** @throws {QuicError} `ERR_TLS_CONFIG` if the binding does not take the credentials */
  constructor(quiche: QuicheBinding, credentials: Credentials, options: ResolvedOptions) {
    this.#quiche = quiche;
    this.#credentials = credentials;
    this.#options = options;
    this.#ticketKey = Uint8Array.from(options.ticketKey ?? randomBytes(TICKET_KEY_LENGTH));
    this.#ticketKeyMadeAt = Date.now();
    this.#isTicketKeyGiven = options.ticketKey !== undefined;
    this.#assertUsable(credentials);
  }

  /**
   * For connections from now on; no ticket issued before is honoured.
   *
   * @throws {QuicError} `ERR_TLS_CONFIG`; nothing has changed then
   */
  useCredentials(credentials: Credentials): void {
    this.#assertUsable(credentials);
    this.#credentials = credentials;
    this.#configs.clear();
    this.#isTicketKeyGiven = false;
    this.#ticketKey = randomBytes(TICKET_KEY_LENGTH);
    this.#ticketKeyMadeAt = Date.now();
  }

  get(traits: ConnectionTraits): NativeConfig {
    this.#renewTicketKey();
    const { isDialler, packetLength, congestionControl } = traits;
    const key = `${isDialler} ${packetLength} ${congestionControl}`;
    let config = this.#configs.get(key);
    if (config === undefined) {
      config = createNativeConfig(this.#quiche, this.#credentials, this.#options, traits);
      config.setTicketKey(this.#ticketKey);
      this.#configs.set(key, config);
    }
    return config;
  }

  #renewTicketKey(): void {
    const now = Date.now();
    if (this.#isTicketKeyGiven || now - this.#ticketKeyMadeAt < TICKET_AGE_MAX_MS) return;
    this.#ticketKey = randomBytes(TICKET_KEY_LENGTH);
    this.#ticketKeyMadeAt = now;
    for (const config of this.#configs.values()) config.setTicketKey(this.#ticketKey);
  }

  /** What is wrong with a certificate shows when it is given to the binding, which must not be at the first connection. */
  #assertUsable(credentials: Credentials): void {
    const [quiche, options] = [this.#quiche, this.#options];
    try {
      createNativeConfig(quiche, credentials, options, {
        isDialler: false,
        packetLength: PACKET_LENGTH_MIN,
        congestionControl: "cubic",
      });
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new QuicError("ERR_TLS_CONFIG", `Cannot use TLS: the certificate is refused: ${text}`, {
        cause,
      });
    }
  }
}
