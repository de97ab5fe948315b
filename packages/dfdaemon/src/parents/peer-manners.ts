import { probeTls, type TlsProbe } from "@damselfly/rpc";
import { type Tls, toTlsSource } from "@damselfly/transport";

/** Whether to speak TLS with a daemon. */
export type Manners = "tls" | "plain";

/** How long a daemon may take to answer a ClientHello; the first contact waits for it. Milliseconds. */
const PROBE_MS = 1_000;
/** A daemon that spoke plain is asked again after this long: it may have been given a certificate. Milliseconds. */
const PLAIN_TTL_MS = 600_000;
/** Daemons remembered of each kind; one more forgets the oldest. */
const REMEMBERED_MAX = 10_000;

/** A daemon's DfdaemonUpload service. */
export interface Daemon {
  readonly ip: string;
  readonly port: number;
  /** With TLS its certificate must name it. */
  readonly hostname: string;
}

export interface PeerMannersOptions {
  /** Ours, to those we dial; undefined: nobody speaks TLS. */
  readonly tls: Tls | undefined;
  /** `security.plainPeers`: daemons without TLS are dialled. */
  readonly plainPeers: boolean;
  /** Milliseconds; default the system's clock. */
  readonly now?: () => number;
  /** For tests. */
  readonly probe?: (daemon: Daemon) => Promise<TlsProbe>;
}

/**
 * Finds out which daemons speak TLS and which, being Dragonfly's, speak plain: TLS is tried first, and remembered. An address or a
 * hostname that has once shown a certificate is never spoken to plain again while this process lives: whoever answers plain there later is
 * not who it was.
 */
export class PeerManners {
  readonly #tls: Tls | undefined;
  readonly #plainPeers: boolean;
  readonly #now: () => number;
  readonly #probe: (daemon: Daemon) => Promise<TlsProbe>;
  /** When an address has last shown a certificate. */
  readonly #certified = new Map<string, number>();
  /** When a hostname has. */
  readonly #certifiedHosts = new Map<string, number>();
  /** When an address answered without TLS. */
  readonly #plain = new Map<string, number>();
  readonly #asking = new Map<string, Promise<Manners>>();

  constructor(options: PeerMannersOptions) {
    const { tls, plainPeers, now = Date.now } = options;
    this.#tls = tls;
    this.#plainPeers = plainPeers;
    this.#now = now;
    this.#probe = options.probe ?? (async (daemon) => await probe(daemon, tls));
  }

  /** How to speak with a daemon. Takes no time, but for a probe of a second at most where both are possible and nothing is known. */
  async of(daemon: Daemon): Promise<Manners> {
    if (this.#tls === undefined) return "plain";
    if (!this.#plainPeers || this.#isCertified(daemon)) return "tls";
    const address = addressOf(daemon);
    const plainAtMs = this.#plain.get(address);
    if (plainAtMs !== undefined && this.#now() - plainAtMs < PLAIN_TTL_MS) return "plain";
    const key = JSON.stringify([address, daemon.hostname]);
    const asking =
      this.#asking.get(key) ?? this.#ask(daemon).finally(() => this.#asking.delete(key));
    this.#asking.set(key, asking);
    return await asking;
  }

  /**
   * Why a daemon that could not be reached is not reached without TLS; undefined if TLS is not to blame. Takes a second at most. One that
   * was taken for plain is asked again at the next contact: it may only have hung up because it was about to end.
   */
  async whyNotPlain(daemon: Daemon): Promise<string | undefined> {
    if (this.#tls === undefined) return undefined;
    const isCertified = this.#isCertified(daemon);
    if (this.#plainPeers && !isCertified) {
      if (this.#plain.has(addressOf(daemon))) remember(this.#plain, addressOf(daemon), -Infinity);
      return undefined;
    }
    if ((await this.#probe(daemon)).kind !== "plain") return undefined;
    return isCertified
      ? "it has shown a certificate before and speaks without TLS now; if that is meant, restart this daemon"
      : "it speaks without TLS, as Dragonfly's daemons do, and security.plainPeers is false";
  }

  #isCertified(daemon: Daemon): boolean {
    return this.#certified.has(addressOf(daemon)) || this.#certifiedHosts.has(daemon.hostname);
  }

  async #ask(daemon: Daemon): Promise<Manners> {
    const address = addressOf(daemon);
    const answer = await this.#probe(daemon);
    if (answer.kind === "trusted") {
      remember(this.#certified, address, this.#now());
      remember(this.#certifiedHosts, daemon.hostname, this.#now());
    }
    if (answer.kind === "plain") {
      remember(this.#plain, address, this.#now());
      return "plain";
    }
    // One that cannot be reached now is what it was.
    if (answer.kind === "unknown" && this.#plain.has(address)) return "plain";
    this.#plain.delete(address);
    return "tls";
  }
}

async function probe(daemon: Daemon, tls: Tls | undefined): Promise<TlsProbe> {
  if (tls === undefined) return { kind: "unknown", error: new Error("no certificate to show") };
  const { ip, port, hostname } = daemon;
  return await probeTls(
    { ip, port, expectedHostname: hostname },
    { tls: toTlsSource(tls).current, timeoutMs: PROBE_MS },
  );
}

function addressOf({ ip, port }: Daemon): string {
  return `${ip} ${port}`;
}

function remember(known: Map<string, number>, key: string, nowMs: number): void {
  known.delete(key);
  const [oldest] = known.keys();
  if (known.size >= REMEMBERED_MAX && oldest !== undefined) known.delete(oldest);
  known.set(key, nowMs);
}
