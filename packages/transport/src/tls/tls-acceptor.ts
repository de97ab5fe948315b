import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import { AdmittedPeers } from "./admitted-peers.ts";
import type { PeerRefusal } from "./peer-trust.ts";
import { RefusalLog, type TlsLogger } from "./refusal-log.ts";
import { chainOf } from "./socket-chain.ts";
import type { TlsIdentity } from "./tls-identity.ts";
import type { TlsSource } from "./tls-source.ts";

export interface TlsAcceptorInit {
  readonly tls: TlsSource;
  /** What of an identity goes into Node's TLS: certificates, versions, ciphers. */
  readonly toContext: (identity: TlsIdentity) => SecureContextOptions;
  /** The one protocol spoken inside (RFC 7301). */
  readonly alpn: string;
  /** Hostnames of which a caller's certificate must name one; absent: whatever it names. */
  readonly callerNames?: readonly string[] | undefined;
  /** From the accept to the end of the handshake, in milliseconds. */
  readonly handshakeMs: number;
  /** The peer is known and trusted. Errors of the socket are already taken care of. */
  readonly onSecure: (socket: TLSSocket) => void;
  /**
   * Tells a peer that it is taken for nobody because of what its certificate names, and ends the connection: a mistake
   * of an operator's more than anything else. Absent: it is cut off without a word, as others that are not trusted.
   */
  readonly onMisnamed?: ((socket: TLSSocket, refusal: PeerRefusal) => void) | undefined;
  /** A handshake has failed. The socket is destroyed afterwards. */
  readonly onFailed?: ((error: Error) => void) | undefined;
  readonly logger?: TlsLogger | undefined;
  /** Milliseconds since 1970; default the system's clock. */
  readonly now?: (() => number) | undefined;
}

/**
 * How long a session can be resumed, from the handshake on in which a certificate was shown. What a ticket is worth is
 * sealed in it under a key that is thrown away after this time, so tickets got by tickets are worth no more.
 */
export const TICKET_AGE_MAX_MS: number = 60 * 60 * 1000;

const TICKET_KEY_LENGTH = 48;

/**
 * The server's side of mutual TLS on sockets that others have accepted: callers must show a certificate that is trusted,
 * in a resumed session too, and lose their connections when it is trusted no more. A new identity, or list of the revoked,
 * is for new connections; no ticket from before is honoured.
 *
 * @throws {Error} Node's, if the identity cannot be used
 */
export class TlsAcceptor implements Disposable {
  readonly #init: TlsAcceptorInit;
  /** Takes handshakes with what is in use now. Each stays with the server that it began with. */
  #server: Server;
  readonly #peers: AdmittedPeers<Socket>;
  readonly #refusals: RefusalLog;
  readonly #now: () => number;
  readonly #unlisten: () => void;
  #ticketKeysMadeAt: number;

  constructor(init: TlsAcceptorInit) {
    const { tls, logger, now = Date.now } = init;
    this.#init = init;
    this.#now = now;
    this.#refusals = new RefusalLog(logger);
    this.#peers = new AdmittedPeers({
      tls,
      isDialled: false,
      now,
      onDistrusted: (socket, refusal) => {
        this.#refusals.say("A connection is closed", refusal, socket.remoteAddress);
        socket.destroy();
      },
    });
    this.#server = this.#createServer();
    this.#ticketKeysMadeAt = now();
    this.#unlisten = tls.onChange(() => this.#onChange());
  }

  /** Takes over a connection of which nothing has been read. */
  accept(socket: Socket): void {
    if (this.#now() - this.#ticketKeysMadeAt >= TICKET_AGE_MAX_MS) {
      this.#server.setTicketKeys(randomBytes(TICKET_KEY_LENGTH));
      this.#ticketKeysMadeAt = this.#now();
    }
    this.#server.emit("connection", socket);
  }

  /** Connections that are in stay, and are not looked after any more. */
  [Symbol.dispose](): void {
    this.#unlisten();
    this.#peers[Symbol.dispose]();
  }

  #createServer(): Server {
    const { tls, toContext, alpn, handshakeMs, onFailed } = this.#init;
    const server = createServer(
      {
        ...toContext(tls.current),
        ALPNProtocols: [alpn],
        requestCert: true,
        rejectUnauthorized: true,
        handshakeTimeout: handshakeMs,
      },
      (socket) => this.#onSecure(socket, { isOutdated: server !== this.#server }),
    );
    server.on("tlsClientError", (error, socket) => {
      onFailed?.(error);
      socket.destroy();
    });
    return server;
  }

  /** @param options.isOutdated the handshake began before the last change of certificates, or of the list of the revoked */
  #onSecure(socket: TLSSocket, { isOutdated }: { readonly isOutdated: boolean }): void {
    socket.on("error", () => {}); // "close" follows, and there is nobody to tell
    const refusal = this.#peers.admit(socket, chainOf(socket), {
      names: this.#init.callerNames,
      isResumed: socket.isSessionReused(),
      isOutdated,
    });
    if (refusal !== undefined) {
      this.#refusals.say("A peer is refused", refusal, socket.remoteAddress);
      const { onMisnamed } = this.#init;
      if (refusal.fault === "wrong name" && onMisnamed !== undefined) onMisnamed(socket, refusal);
      else socket.destroy();
      return;
    }
    socket.once("close", () => this.#peers.release(socket));
    this.#init.onSecure(socket);
  }

  /** A new server comes with ticket keys of its own. */
  #onChange(): void {
    const { logger } = this.#init;
    try {
      this.#server = this.#createServer();
      this.#ticketKeysMadeAt = this.#now();
    } catch (error) {
      logger?.warn({ err: error }, "Cannot use a new certificate: the former one stays in use");
    }
  }
}
