import { createHash, X509Certificate } from "node:crypto";
import * as tls from "node:tls";
import { Agent, type Client, type Dispatcher, Pool, ProxyAgent } from "undici";
import { OriginError } from "./origin-error.ts";
import { proxyFor, type ProxySettings } from "./proxies.ts";
import { createProxyPool } from "./proxy-pool.ts";
import { readInLargeSteps } from "./read-in-large-steps.ts";
import { redactUrl } from "./redact-url.ts";
import type { Header } from "./request-header.ts";
import { WatchedClient } from "./watched-client.ts";

/** Whom to believe: certificate authorities in PEM besides the system's, or anybody. */
export interface Trust {
  readonly caCerts: readonly string[];
  readonly insecure: boolean;
}

export interface DispatcherSettings {
  readonly proxy: ProxySettings;
  readonly connectMs: number;
  readonly connectionsPerOrigin: number;
}

/** How to send a request on its way. */
export interface Route {
  readonly dispatcher: Dispatcher;
  readonly origin: string;
  readonly path: string;
  /** For the proxy alone. */
  readonly header: Header;
  /** The proxy, fit for messages. */
  readonly via?: string;
}

/** Trusts kept at once. Each has its own connections, so that what one request trusts is never used by another. */
const TRUSTS_MAX = 16;

/** An idle connection is kept this long; the origin's own `Keep-Alive: timeout` wins. */
const KEEP_ALIVE_MS = 10_000;

/** Keep-alive connections, apart for every trust, straight or through proxies. */
export class Dispatchers implements AsyncDisposable {
  readonly #settings: DispatcherSettings;
  /** Least recently used first. */
  readonly #sets = new Map<string, DispatcherSet>();
  readonly #retired = new Set<Dispatcher>();
  #closed = false;

  constructor(settings: DispatcherSettings) {
    this.#settings = settings;
  }

  /**
   * Use the route before anything is awaited: a trust not used for long may be retired in between.
   *
   * @throws {OriginError} `ERR_ORIGIN_TLS` if a certificate of `trust` cannot be read, `ERR_ORIGIN_URL` if the proxy's URL cannot,
   * `ERR_ORIGIN_UNREACHABLE` after disposal
   */
  route(url: URL, trust: Trust): Route {
    if (this.#closed)
      throw new OriginError(
        "ERR_ORIGIN_UNREACHABLE",
        `Cannot read ${redactUrl(url.href)}: the daemon is stopping`,
      );
    const set = this.#setOf(trust);
    const path = url.pathname + url.search;
    const proxy = proxyFor(url, this.#settings.proxy);
    if (proxy === undefined)
      return { dispatcher: set.direct, origin: url.origin, path, header: {} };

    const proxyUrl = parseProxyUrl(proxy);
    const via = redactUrl(proxy);
    if (url.protocol === "https:") {
      return { dispatcher: this.#tunnel(set, proxyUrl), origin: url.origin, path, header: {}, via };
    }
    // Plain HTTP is asked of the proxy by absolute URL (RFC 9112, section 3.2.2): many refuse CONNECT to port 80.
    const authorization = proxyAuthorization(proxyUrl);
    const header = {
      host: url.host,
      ...(authorization === undefined ? {} : { "proxy-authorization": authorization }),
    };
    return {
      dispatcher: set.direct,
      origin: proxyUrl.origin,
      path: url.origin + path,
      header,
      via,
    };
  }

  /** Breaks whatever still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    const all = [...this.#retired, ...[...this.#sets.values()].flatMap(dispatchersOf)];
    this.#sets.clear();
    this.#retired.clear();
    await Promise.all(all.map((dispatcher) => dispatcher.destroy()));
  }

  #setOf(trust: Trust): DispatcherSet {
    const key = trust.insecure
      ? "insecure"
      : createHash("sha256").update(trust.caCerts.join("\n")).digest("hex");
    let set = this.#sets.get(key);
    if (set === undefined) {
      const connect = {
        ...tlsOptionsOf(trust),
        timeout: this.#settings.connectMs,
        onread: readInLargeSteps(),
      };
      set = { connect, direct: new Agent({ ...this.#poolOptions, connect }), tunnels: new Map() };
    }
    this.#sets.delete(key);
    this.#sets.set(key, set);
    if (this.#sets.size > TRUSTS_MAX) this.#retireOldest();
    return set;
  }

  #tunnel(set: DispatcherSet, proxyUrl: URL): Dispatcher {
    let tunnel = set.tunnels.get(proxyUrl.href);
    if (tunnel === undefined) {
      const token = proxyAuthorization(proxyUrl);
      tunnel = new ProxyAgent({
        ...this.#poolOptions,
        uri: proxyUrl.origin,
        ...(token === undefined ? {} : { token }),
        requestTls: set.connect,
        proxyTls: set.connect,
        // What waits here is only the proxy's answer to CONNECT.
        clientFactory: (origin, options) =>
          createProxyPool(origin, { ...options, headersTimeout: this.#settings.connectMs }),
      });
      set.tunnels.set(proxyUrl.href, tunnel);
    }
    return tunnel;
  }

  /** Lets running requests end. */
  #retireOldest(): void {
    const [key, set] = this.#sets.entries().next().value ?? [];
    if (key === undefined || set === undefined) return;
    this.#sets.delete(key);
    for (const dispatcher of dispatchersOf(set)) {
      this.#retired.add(dispatcher);
      dispatcher.close(() => this.#retired.delete(dispatcher));
    }
  }

  get #poolOptions(): Agent.Options {
    return {
      connections: this.#settings.connectionsPerOrigin,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      factory: createPool,
    };
  }
}

function createPool(origin: string | URL, options: Pool.Options): Pool {
  return new Pool(origin, { ...options, factory: createClient });
}

function createClient(origin: URL, options: Client.Options): Client {
  return new WatchedClient(origin, options);
}

interface DispatcherSet {
  readonly connect: TlsOptions & { readonly timeout: number };
  readonly direct: Dispatcher;
  /** By proxy; HTTPS only. */
  readonly tunnels: Map<string, Dispatcher>;
}

function dispatchersOf(set: DispatcherSet): Dispatcher[] {
  return [set.direct, ...set.tunnels.values()];
}

interface TlsOptions {
  readonly rejectUnauthorized: boolean;
  readonly secureContext?: tls.SecureContext;
}

function tlsOptionsOf(trust: Trust): TlsOptions {
  if (trust.insecure) return { rejectUnauthorized: false };
  if (trust.caCerts.length === 0) return { rejectUnauthorized: true };
  for (const caCert of trust.caCerts) assertCertificates(caCert);
  // Built once: parsing all the system's certificates for each connection would cost more than the handshake.
  const secureContext = tls.createSecureContext({
    ca: [...systemCertificates(), ...trust.caCerts],
  });
  return { rejectUnauthorized: true, secureContext };
}

/** What Node trusts by default, NODE_EXTRA_CA_CERTS and --use-system-ca included where Node can tell (from 22.15). */
function systemCertificates(): readonly string[] {
  const {
    getCACertificates,
  }: Pick<typeof tls, "rootCertificates"> & { getCACertificates?: (kind: "default") => string[] } =
    tls;
  return getCACertificates?.("default") ?? tls.rootCertificates;
}

function assertCertificates(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) {
    throw new OriginError(
      "ERR_ORIGIN_TLS",
      "Cannot trust CA certificate: there is no PEM certificate in it",
    );
  }
  for (const block of blocks) {
    try {
      // oxlint-disable-next-line no-new -- it is made to see whether it can be
      new X509Certificate(block);
    } catch (cause) {
      throw new OriginError(
        "ERR_ORIGIN_TLS",
        "Cannot trust CA certificate: one of its PEM blocks does not parse",
        { cause },
      );
    }
  }
}

function parseProxyUrl(proxy: string): URL {
  if (URL.canParse(proxy)) {
    const url = new URL(proxy);
    if (url.protocol === "http:" || url.protocol === "https:") return url;
  }
  throw new OriginError(
    "ERR_ORIGIN_URL",
    `Cannot use proxy: '${redactUrl(proxy)}' is not an http or https URL`,
  );
}

function proxyAuthorization({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(credentials).toString("base64")}`;
}
