import type { NativeConnectionStats } from "./binding.ts";

/** What is counted for the connection's and the endpoint's statistics. */
export interface Traffic {
  sentBytes: number;
  receivedBytes: number;
  sentDatagramCount: number;
  receivedDatagramCount: number;
  sendCallCount: number;
  receiveCallCount: number;
  sentPacketCount: number;
  lostPacketCount: number;
  lostBytes: number;
}

export function createTraffic(): Traffic {
  return {
    sentBytes: 0,
    receivedBytes: 0,
    sentDatagramCount: 0,
    receivedDatagramCount: 0,
    sendCallCount: 0,
    receiveCallCount: 0,
    sentPacketCount: 0,
    lostPacketCount: 0,
    lostBytes: 0,
  };
}

const NATIVE_NAMES: readonly (readonly [keyof Traffic, keyof NativeConnectionStats])[] = [
  ["sentBytes", "udpTxBytes"],
  ["receivedBytes", "udpRxBytes"],
  ["sentDatagramCount", "udpTxDatagrams"],
  ["receivedDatagramCount", "udpRxDatagrams"],
  ["sendCallCount", "udpTxIos"],
  ["receiveCallCount", "udpRxIos"],
  ["sentPacketCount", "pathSentPackets"],
  ["lostPacketCount", "pathLostPackets"],
  ["lostBytes", "pathLostBytes"],
];

interface Counted {
  stats(): NativeConnectionStats;
}

/** Far less than the 4 GiB after which the native counters begin anew. */
const SAMPLE_LENGTH = 256 * 1024 * 1024;

/** Follows the native counters of one connection, which wrap at 32 bits, and adds what they grow by to `total` too. */
export class TrafficMeter {
  readonly #native: Counted;
  readonly #total: Traffic;
  readonly #own: Traffic = createTraffic();
  readonly #seen: Traffic = createTraffic();
  #unsampledLength = 0;

  constructor(native: Counted, total: Traffic) {
    this.#native = native;
    this.#total = total;
  }

  /** So many bytes of content have moved: the counters are looked at before they can wrap. */
  moved(length: number): void {
    this.#unsampledLength += length;
    if (this.#unsampledLength >= SAMPLE_LENGTH) this.sample();
  }

  sample(): { readonly traffic: Readonly<Traffic>; readonly native: NativeConnectionStats } {
    this.#unsampledLength = 0;
    const native = this.#native.stats();
    for (const [name, nativeName] of NATIVE_NAMES) {
      const value = native[nativeName];
      const growth = (value - this.#seen[name]) >>> 0; // modulo 2^32
      this.#seen[name] = value;
      this.#own[name] += growth;
      this.#total[name] += growth;
    }
    return { traffic: this.#own, native };
  }
}
