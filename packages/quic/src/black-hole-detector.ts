/** Timeouts in a row, and the time from the first to the last, that make silence suspicious. */
const TIMEOUT_COUNT = 3;
const SILENCE_MS = 300;

/** Losses are looked at in windows of a round trip, of this at least, and of two long packets sent. */
const WINDOW_MS = 250;
const WINDOW_PACKETS = 2;
/** Of the bytes in long packets, lost in two windows in a row: no path loses as many of what it takes. */
const LOST_SHARE = 0.8;

/**
 * Notices that a path loses every long packet and no short one, as over a router that forwards no more than so many
 * bytes and tells nobody. The binding does not say which packets it lost, so this goes by two signs: repeated silence
 * after long packets, and losses of nearly everything while something still comes back. Either can be an outage
 * too: shorter packets do no harm then. Does no I/O; times are in milliseconds.
 */
export class BlackHoleDetector {
  #timeoutCount = 0;
  #silentSince = 0;
  #hasSentLong = false;
  /** Bytes in long packets since the connection began. */
  #longBytes = 0;
  /** Where the window began. */
  #from = { now: Number.NEGATIVE_INFINITY, longBytes: 0, lostBytes: 0 };
  /** The window before: losses come to light a while after the packets that they are of. */
  #before = { longBytes: 0, lostBytes: 0 };

  /** A packet longer than QUIC's minimum is on its way. */
  onLongSent(length: number): void {
    this.#hasSentLong = true;
    this.#longBytes += length;
  }

  onReceived(): void {
    this.#timeoutCount = 0;
    this.#hasSentLong = false;
  }

  /** True if long packets had better not be sent any more. */
  onTimeout(now: number): boolean {
    if (!this.#hasSentLong) return false;
    if (this.#timeoutCount === 0) this.#silentSince = now;
    this.#timeoutCount++;
    return this.#timeoutCount >= TIMEOUT_COUNT && now - this.#silentSince >= SILENCE_MS;
  }

  isWindowOver(now: number, packetLength: number): boolean {
    const longBytes = this.#longBytes - this.#from.longBytes;
    return now - this.#from.now >= WINDOW_MS && longBytes >= WINDOW_PACKETS * packetLength;
  }

  /**
   * True as above.
   *
   * @param lostBytes since the connection began
   * @param rttMs a round trip
   */
  onWindow(
    now: number,
    { lostBytes, rttMs }: { readonly lostBytes: number; readonly rttMs: number },
  ): boolean {
    if (now - this.#from.now < rttMs) return false;
    const window = {
      longBytes: this.#longBytes - this.#from.longBytes,
      lostBytes: lostBytes - this.#from.lostBytes,
    };
    const sent = window.longBytes + this.#before.longBytes;
    const isLosing =
      this.#before.longBytes > 0 && window.lostBytes + this.#before.lostBytes >= LOST_SHARE * sent;
    this.#before = window;
    this.#from = { now, longBytes: this.#longBytes, lostBytes };
    return isLosing;
  }

  /** Begins anew, after packets have become shorter. */
  reset(now: number, lostBytes: number): void {
    this.onReceived();
    this.#before = { longBytes: 0, lostBytes: 0 };
    this.#from = { now, longBytes: this.#longBytes, lostBytes };
  }
}
