import { TlsStore, type TlsIdentity, type TlsSource } from "@damselfly/transport";
import {
  type CertificateExpiry,
  expiriesOf,
  formatSpan,
  repeatTimeOf,
  warningTimeOf,
} from "./certificate-expiry.ts";
import { SettingsError } from "./errors.ts";
import { type CertificateUse, loadTlsIdentity, type TlsPaths } from "./load-tls-identity.ts";
import { loadRevocationList } from "./revocation-list.ts";
import { watchDirectories } from "./watch-directories.ts";

/** Three files, and what they are for. */
export interface TlsSection {
  /** As in `security`; messages name it. */
  readonly name: string;
  readonly paths: TlsPaths;
  readonly uses: readonly CertificateUse[];
}

export interface TlsFilesOptions {
  readonly sections: readonly TlsSection[];
  /** The list of revoked certificates, and the key that names it; empty: there is none. */
  readonly revoked: { readonly path: string; readonly setting: string };
  /** How often the files are looked at, whether or not the system tells of a change. Milliseconds. */
  readonly intervalMs: number;
  readonly logger: TlsFilesLogger;
  /** Milliseconds since 1970; default the system's clock. */
  readonly now?: (() => number) | undefined;
  /** How long a set that does not fit, or a list that has lost some, may need to be complete, in milliseconds; default 1 000. */
  readonly settleMs?: number | undefined;
}

export interface TlsFilesLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A certificate that is in use at this moment. */
export interface CertificateInUse extends CertificateExpiry {
  /** The key that names its file: `security.cert`, `security.caCert`. */
  readonly setting: string;
}

/** The certificates of a process, as their files say, and again whenever they have changed. */
export interface TlsFiles extends AsyncDisposable {
  /** The identity of a section; undefined: its files are not given. */
  source(section: string): TlsSource | undefined;
  readonly certificates: readonly CertificateInUse[];
  /** Serial numbers on the list of revoked certificates. */
  readonly revokedCount: number;
  /** Times that files were found changed and were taken, or were refused. */
  readonly reloads: { readonly taken: number; readonly refused: number };
  /** Looks at the files now. Never rejects: what is wrong is in the log. */
  look(): Promise<void>;
}

/**
 * Reads and checks the files, and goes on looking at them: what fits is taken, what does not is refused with a line in the
 * log, and what was in use stays in use. Disposing ends the looking; the sources stay what they are.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` naming the file at fault
 */
export async function openTlsFiles(options: TlsFilesOptions): Promise<TlsFiles> {
  const files = new WatchedTlsFiles(options);
  await files.open();
  return files;
}

const SETTLE_MS = 1_000;

class WatchedTlsFiles implements TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #now: () => number;
  readonly #settleMs: number;
  readonly #stores = new Map<string, TlsStore>();
  /** What was said of each file set, as long as it is so. */
  readonly #complaints = new Map<string, Complaint>();
  /** When it was last said that a certificate runs out, by serial number. */
  readonly #warnedAtMs = new Map<string, number>();
  readonly #known = new WeakMap<TlsIdentity, readonly CertificateInUse[]>();
  #serials: readonly string[] = [];
  /** The list as it was found the last time, if it had lost some of them, and since when it has been so, as `performance.now()` has it. */
  #shrunk: { readonly text: string; readonly sinceMs: number } | undefined;
  #taken = 0;
  #refused = 0;
  #looking: Promise<void> | undefined;
  #isAgain = false;
  #timer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;
  #unwatch: () => void = () => {};
  #isClosed = false;

  constructor(options: TlsFilesOptions) {
    this.#options = options;
    this.#settleMs = options.settleMs ?? SETTLE_MS;
    this.#now = options.now ?? Date.now;
  }

  get revokedCount(): number {
    return this.#serials.length;
  }

  get reloads(): { readonly taken: number; readonly refused: number } {
    return { taken: this.#taken, refused: this.#refused };
  }

  get certificates(): readonly CertificateInUse[] {
    return [...this.#stores].flatMap(([name, { current }]) => this.#certificatesOf(name, current));
  }

  /** Read once for each identity: metrics ask again and again. */
  #certificatesOf(section: string, identity: TlsIdentity): readonly CertificateInUse[] {
    let certificates = this.#known.get(identity);
    if (certificates === undefined) {
      certificates = [
        ...expiriesOf(identity.cert).map((one) => ({ ...one, setting: `${section}.cert` })),
        ...expiriesOf(identity.caCert).map((one) => ({ ...one, setting: `${section}.caCert` })),
      ];
      this.#known.set(identity, certificates);
    }
    return certificates;
  }

  source(section: string): TlsSource | undefined {
    return this.#stores.get(section);
  }

  async open(): Promise<void> {
    const { sections, revoked, intervalMs } = this.#options;
    if (revoked.path !== "")
      this.#serials = (await loadRevocationList(revoked.path, revoked.setting)).serials;
    for (const section of sections) {
      const identity = await this.#load(section);
      if (identity !== undefined) this.#stores.set(section.name, new TlsStore(identity));
    }
    if (this.#stores.size === 0) return;
    this.#warnOfEnds();
    this.#timer = setInterval(() => void this.look(), intervalMs).unref();
    const paths = sections
      .filter(({ name }) => this.#stores.has(name))
      .flatMap(({ paths: { caCert = "", cert = "", key = "" } }) => [caCert, cert, key]);
    this.#unwatch = watchDirectories(
      [...paths, revoked.path].filter((path) => path !== ""),
      () => void this.look(),
    );
  }

  look(): Promise<void> {
    if (this.#isClosed || this.#stores.size === 0) return Promise.resolve();
    // What changes while it is looked at is looked at once more.
    this.#isAgain = this.#looking !== undefined;
    this.#looking ??= this.#lookUntilDone().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    clearInterval(this.#timer);
    clearTimeout(this.#settleTimer);
    await this.#looking;
  }

  async #lookUntilDone(): Promise<void> {
    do {
      this.#isAgain = false;
      await this.#lookOnce();
      // oxlint-disable-next-line typescript/no-unnecessary-condition -- look sets it meanwhile
    } while (this.#isAgain);
  }

  async #lookOnce(): Promise<void> {
    const isListNew = await this.#lookAtList();
    for (const section of this.#options.sections) {
      const store = this.#stores.get(section.name);
      if (store !== undefined) await this.#lookAt(section, store, isListNew);
    }
    this.#warnOfEnds();
  }

  /**
   * Whom it names is revoked at once. Whom it does not name any more is trusted again only when it has been the same for a while, and its
   * last line has an end: a list that is being copied, or did not fit on the disk, lets nobody in. Looks do not count: the system tells of
   * each write.
   *
   * @returns whether it says something else than before
   */
  async #lookAtList(): Promise<boolean> {
    const { path, setting } = this.#options.revoked;
    if (path === "") return false;
    const known = this.#serials;
    try {
      const { serials, isWhole } = await loadRevocationList(path, setting);
      const listed = new Set(serials);
      const missing = known.filter((one) => !listed.has(one));
      const isBelieved = missing.length === 0 || (this.#hasLasted(serials.join()) && isWhole);
      if (isBelieved) this.#shrunk = undefined;
      const isShorter = isBelieved && missing.length > 0;
      this.#serials = isBelieved ? serials : [...serials, ...missing];
      const isNew = isShorter || this.#serials.length > known.length;
      if (isNew) {
        this.#taken++;
        this.#options.logger[isShorter ? "warn" : "info"](
          { path, count: this.#serials.length },
          `${path} (${setting}) lists ${this.#serials.length} revoked certificates now` +
            (isShorter ? `, and ${missing.length} no more, which are trusted again` : ""),
        );
      }
      if (isBelieved) this.#settled(setting);
      else if (isWhole) this.#lookAgainSoon();
      else this.#complain(setting, cutShort(path, setting, missing.length));
      return isNew;
    } catch (error) {
      this.#shrunk = undefined;
      this.#complain(setting, error);
      return false;
    }
  }

  /** Whether a list that has lost some has been like this for `settleMs`. */
  #hasLasted(text: string): boolean {
    const nowMs = performance.now();
    if (this.#shrunk?.text !== text) this.#shrunk = { text, sinceMs: nowMs };
    return nowMs - this.#shrunk.sinceMs >= this.#settleMs;
  }

  async #lookAt(section: TlsSection, store: TlsStore, isListNew: boolean): Promise<void> {
    const { name } = section;
    const former = store.current;
    try {
      const identity = await this.#load(section);
      if (identity === undefined) return; // paths do not change
      this.#settled(name);
      if (!store.update(identity) || isSameTexts(identity, former)) return;
      this.#taken++;
      const [leaf] = expiriesOf(identity.cert);
      const end = leaf === undefined ? "" : new Date(leaf.validToMs).toISOString();
      this.#options.logger.info(
        { section: name, serial: leaf?.serial },
        `a new certificate is in use: ${section.paths.cert} (${name}.cert), valid to ${end}`,
      );
    } catch (error) {
      this.#complain(name, error);
      // Whatever is wrong with our own files, who is revoked is revoked.
      if (isListNew) store.update({ ...former, revoked: this.#serials });
    }
  }

  async #load({ name, paths, uses }: TlsSection): Promise<TlsIdentity | undefined> {
    const { path, setting } = this.#options.revoked;
    return await loadTlsIdentity(paths, {
      name,
      uses,
      nowMs: this.#now(),
      ...(path === "" ? {} : { revoked: { serials: this.#serials, path, setting } }),
    });
  }

  /**
   * Says what is wrong, once: at the second look, because files that are being replaced one after the other do not fit
   * for a moment.
   */
  #complain(subject: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    // What is out of date is so a moment later, too.
    const fault = message.replace(/, it is now .*$/, "");
    const known = this.#complaints.get(subject);
    if (known?.fault !== fault) {
      this.#complaints.set(subject, { fault, isSaid: false, isOwed: isToBeLifted(known) });
      this.#lookAgainSoon();
      return;
    }
    if (known.isSaid) return;
    known.isSaid = true;
    this.#refused++;
    this.#options.logger.error({ subject }, `${message}. What was in use stays in use`);
  }

  #lookAgainSoon(): void {
    this.#settleTimer ??= setTimeout(() => {
      this.#settleTimer = undefined;
      void this.look();
    }, this.#settleMs).unref();
  }

  #settled(subject: string): void {
    const known = this.#complaints.get(subject);
    this.#complaints.delete(subject);
    if (isToBeLifted(known))
      this.#options.logger.info({ subject }, `the files of ${subject} can be used again`);
  }

  #warnOfEnds(): void {
    const nowMs = this.#now();
    const inUse = this.certificates;
    for (const one of inUse) {
      const leftMs = one.validToMs - nowMs;
      if (leftMs > warningTimeOf(one)) continue;
      const saidMs = this.#warnedAtMs.get(one.serial) ?? Number.NEGATIVE_INFINITY;
      if (nowMs - saidMs < repeatTimeOf(leftMs)) continue;
      this.#warnedAtMs.set(one.serial, nowMs);
      const message = describeEnd(one, leftMs);
      if (leftMs > 0) this.#options.logger.warn({ setting: one.setting }, message);
      else this.#options.logger.error({ setting: one.setting }, message);
    }
    const serials = new Set(inUse.map(({ serial }) => serial));
    for (const serial of this.#warnedAtMs.keys()) {
      if (!serials.has(serial)) this.#warnedAtMs.delete(serial);
    }
  }
}

function cutShort(path: string, setting: string, missingCount: number): SettingsError {
  return new SettingsError(
    "ERR_SETTINGS_TLS",
    `Cannot use the list of revoked certificates ${path} (${setting}): ${missingCount} that were on it are missing, and its last line has no end, ` +
      "as if it had been cut short; expected an end, and at least a line that says nothing (#)",
  );
}

interface Complaint {
  readonly fault: string;
  isSaid: boolean;
  /** Another one had been said whose place it has taken. */
  readonly isOwed: boolean;
}

/** Whether the log says that something is wrong, so that it has to say when that is over. */
function isToBeLifted(known: Complaint | undefined): boolean {
  return known !== undefined && (known.isSaid || known.isOwed);
}

function isSameTexts(one: TlsIdentity, other: TlsIdentity): boolean {
  return one.caCert === other.caCert && one.cert === other.cert && one.key === other.key;
}

function describeEnd({ setting, serial }: CertificateInUse, leftMs: number): string {
  const isAuthority = setting.endsWith(".caCert");
  const what = `the ${isAuthority ? "authority" : "certificate"} in ${setting} (serial ${serial})`;
  const span = formatSpan(leftMs);
  if (leftMs > 0) {
    const advice = isAuthority
      ? "put its successor beside it, then replace the certificates that it has issued"
      : "replace it (dfdaemon certs renew), the file is looked at while this process runs";
    return `${what} runs out in ${span}: ${advice}`;
  }
  const result = isAuthority
    ? "whom it vouches for is not let in any more"
    : "nobody lets this process in any more";
  return `${what} ran out ${span} ago: ${result}`;
}
