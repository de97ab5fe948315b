import type { SecureContext } from "node:tls";
import {
  AdmittedPeers,
  type CertificateChain,
  isOtherIdentity,
  namesOf,
  type PeerRefusal,
  type TlsSource,
} from "@damselfly/transport";
import { openSecureContext } from "./tls-context.ts";

/** What may be dialled with TLS. */
interface SecureConnection {
  readonly target: { readonly ip: string; readonly hostname: string | undefined };
  close(reason: Error): void;
}

/**
 * What dials with TLS show and check. Connections whose parents are not trusted any more are closed, whatever runs on
 * them.
 */
export class SecureDials implements Disposable {
  readonly #parents: AdmittedPeers<SecureConnection>;
  readonly #unlisten: () => void;
  #context: SecureContext;

  /**
   * @param options.onChange another identity, or another list of the revoked: sessions from before vouch for nothing any
   * more, and with `isOtherIdentity` connections from before are not to be used again
   * @throws {TcpError} `ERR_TLS_CONFIG`
   */
  constructor(options: {
    readonly tls: TlsSource;
    readonly onChange: (change: { readonly isOtherIdentity: boolean }) => void;
    readonly now?: (() => number) | undefined;
  }) {
    const { tls, now } = options;
    this.#context = openSecureContext(tls.current);
    this.#parents = new AdmittedPeers({
      tls,
      isDialled: true,
      now,
      onDistrusted: (connection, { reason }) => connection.close(new Error(reason)),
    });
    let former = tls.current;
    this.#unlisten = tls.onChange(() => {
      const isOther = isOtherIdentity(tls.current, former);
      if (isOther) this.#context = openSecureContext(tls.current);
      former = tls.current;
      options.onChange({ isOtherIdentity: isOther });
    });
  }

  get context(): SecureContext {
    return this.#context;
  }

  /**
   * To be called when a handshake went well; `release` the connection when it is closed.
   *
   * @param shown.chain as the parent showed it, now or when the session that was resumed was made
   * @returns why the parent is not who was meant
   */
  admit(
    connection: SecureConnection,
    { chain, isResumed }: { readonly chain: CertificateChain; readonly isResumed: boolean },
  ): PeerRefusal | undefined {
    return this.#parents.admit(connection, chain, { names: namesOf(connection.target), isResumed });
  }

  release(connection: SecureConnection): void {
    this.#parents.release(connection);
  }

  [Symbol.dispose](): void {
    this.#unlisten();
    this.#parents[Symbol.dispose]();
  }
}
