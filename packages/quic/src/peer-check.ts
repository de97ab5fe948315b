import type { NativeConnection } from "./binding.ts";
import { CERTIFICATE_EXPIRED, TLS_ALERT_BASE } from "./close-reason.ts";
import type { QuicCloseReason, QuicTls } from "./quic.ts";
import { validUntil } from "./ticket.ts";

/** What is known of the peer's certificates, and what speaks against them. */
export class PeerCheck {
  readonly #native: NativeConnection;
  readonly #isDialled: boolean;
  #certificates: readonly Uint8Array[] = [];
  #expireAt = Number.POSITIVE_INFINITY;

  constructor(native: NativeConnection, { isDialled }: { readonly isDialled: boolean }) {
    this.#native = native;
    this.#isDialled = isDialled;
  }

  /** DER, leaf first. */
  get certificates(): readonly Uint8Array[] {
    return this.#certificates;
  }

  /** When the first of them runs out, in milliseconds since 1970; infinity where nobody has to show any. */
  get expireAt(): number {
    return this.#expireAt;
  }

  /** To be called once the peer has shown them, and whenever it may have shown others. */
  learn(tls: QuicTls | "insecure"): void {
    this.#certificates = this.#native.peerCertChain() ?? [];
    if (tls !== "insecure") this.#expireAt = validUntil(this.#certificates);
  }

  /**
   * Why the connection has to be closed, if it has. The binding has checked the certificates themselves, but those of a
   * resumed session long ago.
   *
   * @param isRunning it has been let in before
   */
  refusal(
    tls: QuicTls | "insecure",
    { isRunning }: { readonly isRunning: boolean },
  ): QuicCloseReason | undefined {
    if (tls === "insecure") return undefined;
    if (this.#expireAt <= Date.now() && (isRunning || this.#native.isResumed())) return EXPIRED;
    const refusal = tls.checkPeer?.({
      certificates: this.#certificates,
      isDialled: this.#isDialled,
      isRunning,
    });
    if (refusal === undefined) return undefined;
    const { alert, reason: text } = refusal;
    return { by: "here", isApplication: false, code: TLS_ALERT_BASE + alert, text };
  }
}

const EXPIRED: QuicCloseReason = {
  by: "here",
  isApplication: false,
  code: CERTIFICATE_EXPIRED,
  text: "",
};
