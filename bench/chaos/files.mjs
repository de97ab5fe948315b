// The files of a run as they are now: which versions there have been, since when, and what is in them.
import { createContent } from "./schedule/content.mjs";

export class ChaosFile {
  /** When each version appeared, by `Date.now()`. */
  #appearedMs = [];
  #digests = new Map();

  constructor({ spec, start }) {
    this.spec = spec;
    this.start = start;
    /** Downloads of it that run or are to come. */
    this.pendingCount = 0;
  }

  get name() {
    return this.spec.name;
  }

  get version() {
    return this.#appearedMs.length - 1;
  }

  /** The next version is there. To be called before anybody can have it. */
  appear() {
    this.#appearedMs.push(Date.now());
  }

  /** Numbers of the versions that had appeared by then. */
  versionsUntil(ms) {
    return this.#appearedMs.flatMap((appearedMs, version) => (appearedMs <= ms ? [version] : []));
  }

  /** When a version was replaced; infinity: it is the current one. */
  supersededMs(version) {
    return this.#appearedMs[version + 1] ?? Number.POSITIVE_INFINITY;
  }

  content(version) {
    const { name, length, changes } = this.spec;
    const lengthNow = version === 0 ? length : changes[version - 1].length;
    return createContent({ start: this.start, name, version, length: lengthNow });
  }

  /** Of a version, in hex. */
  sha256(version) {
    const known = this.#digests.get(version);
    if (known !== undefined) return known;
    const digest = this.content(version).sha256();
    this.#digests.set(version, digest);
    return digest;
  }
}
