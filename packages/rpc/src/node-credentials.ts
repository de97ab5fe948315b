import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";
import type { Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import {
  AdmittedPeers,
  type CertificateChain,
  chainOf,
  namesOf,
  NODE_CERTIFICATE_NAME,
  type TlsSource,
} from "@damselfly/transport";
import { ALPN, clientContext } from "./tls.ts";

/** Who is dialled: see `namesOf`. */
export interface ExpectedServer {
  readonly ip: string;
  readonly hostname?: string | undefined;
}

/** grpc-js's word for who makes a connection secure; it does not export it. */
type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/**
 * Credentials of a channel to one server: mutual TLS 1.3, at least 1.2, under the identity of the moment. The server's
 * certificate must be trusted and name who is meant, and a connection ends when it is trusted no more.
 *
 * grpc-js 1.14 has nothing public for credentials that change, so this fills in what its own ones fill in.
 */
export class NodeCredentials extends ChannelCredentials implements Disposable {
  readonly #tls: TlsSource;
  readonly #server: ExpectedServer;
  readonly #peers: AdmittedPeers<TLSSocket>;
  #serverCertificates: CertificateChain | undefined;

  constructor(tls: TlsSource, server: ExpectedServer) {
    super();
    this.#tls = tls;
    this.#server = server;
    this.#peers = new AdmittedPeers({
      tls,
      isDialled: true,
      onDistrusted: (socket, { reason }) => socket.destroy(this.#distrust(reason)),
    });
  }

  /** As shown on the latest connection; undefined before there was one. */
  get serverCertificates(): CertificateChain | undefined {
    return this.#serverCertificates;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...[, , callCredentials = CallCredentials.createEmpty()]: Parameters<
      ChannelCredentials["_createSecureConnector"]
    >
  ): SecureConnector {
    return {
      connect: async (socket) => ({ socket: await this.#connect(socket), secure: true }),
      waitForReady: async () => {},
      getCallCredentials: () => callCredentials,
      destroy: () => {},
    };
  }

  /** To be called once the channel is closed. */
  [Symbol.dispose](): void {
    this.#peers[Symbol.dispose]();
  }

  async #connect(tcp: Socket): Promise<TLSSocket> {
    const socket = connect({
      socket: tcp,
      secureContext: clientContext(this.#tls.current),
      // TLS forbids an IP as the server's name; `admit` knows which one was dialled.
      servername: NODE_CERTIFICATE_NAME,
      ALPNProtocols: [ALPN],
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined,
    });
    socket.on("error", () => {}); // whoever uses it hears of its close, too
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Error("the connection was closed in its handshake")));
    });
    const chain = chainOf(socket);
    const names = namesOf(this.#server);
    const refusal = this.#peers.admit(socket, chain, { names, isResumed: false });
    if (refusal !== undefined) {
      socket.destroy();
      throw this.#distrust(refusal.reason);
    }
    socket.once("close", () => this.#peers.release(socket));
    this.#serverCertificates = chain;
    return socket;
  }

  #distrust(reason: string): Error {
    return new Error(`Cannot trust ${this.#server.ip}: ${reason}`);
  }
}
