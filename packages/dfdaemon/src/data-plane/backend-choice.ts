import type { QuicBackend } from "@damselfly/transport-quic";
import type { ParentAddress } from "@damselfly/transport";
import type { FirstHop } from "../host/path-mtu.ts";

/** An Ethernet frame's content. More is a jumbo frame, which quinn cannot use. */
const ORDINARY_MTU = 1500;
/** From here on cubic, all that quinn has, is slow to fill the path. Milliseconds. */
const RTT_MS_MAX = 5;
/** Lost packets of those sent that are more than a queue that ran over now and then. */
const LOSS_RATE_MAX = 0.002;
/** Too few packets say nothing of loss. */
const PACKET_COUNT_MIN = 1_000;
/** The path is looked at with the first pieces, and then with every so many. */
const PATH_INTERVAL = 16;
/** So many pieces go to quiche while its connections do not say yet how long the path is. */
const UNSEEN_COUNT_MAX = 8;
/** Pieces that each backend gets before they are compared. */
const TRIAL_COUNT = 4;
/** Every so many pieces one goes to the slower backend: paths and machines change. */
const RETRIAL_INTERVAL = 64;
/** Weight of the newest measurement. */
const GOODPUT_WEIGHT = 0.2;
/** Less says more about latency than about speed. Bytes. */
const MEASURED_LENGTH_MIN = 256 * 1024;
/** A backend that did not get through to a parent is left out for this long. Milliseconds. */
const DETOUR_MS = 60_000;
/** Parents remembered; one more forgets the one that was asked for the longest ago. */
const PARENT_COUNT_MAX = 10_000;

/** What the connections to a parent have seen of the path, as far as this side can tell. */
export interface PathReport {
  readonly rttMs: number;
  readonly sentPacketCount: number;
  readonly lostPacketCount: number;
}

interface Record {
  /** Bytes a millisecond of one piece; undefined: not measured. */
  readonly goodput: Map<QuicBackend, number>;
  readonly countByBackend: Map<QuicBackend, number>;
  /** Until when a backend is left out. */
  readonly detours: Map<QuicBackend, number>;
  pieceCount: number;
  /** The shortest seen: transfers of our own make it longer. Milliseconds. */
  rttMs: number;
  isLossy: boolean;
}

export interface BackendChoiceInit {
  /** Looked at once a parent. */
  readonly firstHopTo: (ip: string) => FirstHop;
  readonly now?: () => number;
}

/**
 * Which QUIC backend fetches a piece from which parent. quiche where it is known to be better (the same machine, jumbo
 * frames, long or lossy paths); elsewhere both get some pieces, and then the one with the better goodput.
 */
export class BackendChoice {
  readonly #init: BackendChoiceInit;
  readonly #now: () => number;
  readonly #records = new Map<string, Record>();
  readonly #isQuicheGround = new Map<string, boolean>();

  constructor(init: BackendChoiceInit) {
    this.#init = init;
    this.#now = init.now ?? Date.now;
  }

  /** In the order in which to try them; at least one. */
  order(parent: ParentAddress, lookAtPath: () => PathReport | undefined): readonly QuicBackend[] {
    if (parent.quinn === undefined) return ["quiche"];
    if ((parent.ports.quic?.length ?? 0) === 0) return ["quinn"];
    const record = this.#recordOf(parent);
    record.pieceCount += 1;
    if (record.pieceCount <= PATH_INTERVAL || record.pieceCount % PATH_INTERVAL === 0) {
      notePath(record, lookAtPath());
    }
    const better = this.#better(parent, record);
    const other = otherThan(better);
    const usable = [better, other].filter((each) => !this.#isDetoured(record, each));
    return usable.length > 0 ? usable : [better, other];
  }

  /** A piece, or what came of it, took so long from the request to its last byte. */
  measured(
    parent: ParentAddress,
    backend: QuicBackend,
    piece: { readonly length: number; readonly durationMs: number },
  ): void {
    if (piece.length < MEASURED_LENGTH_MIN) return;
    const { goodput, countByBackend } = this.#recordOf(parent);
    const rate = piece.length / Math.max(piece.durationMs, 1);
    const before = goodput.get(backend) ?? rate;
    goodput.set(backend, before + GOODPUT_WEIGHT * (rate - before));
    countByBackend.set(backend, (countByBackend.get(backend) ?? 0) + 1);
  }

  /** It did not get through: the other one is used for a while. True if that is news. */
  failed(parent: ParentAddress, backend: QuicBackend): boolean {
    const record = this.#recordOf(parent);
    const isNews = !this.#isDetoured(record, backend);
    record.detours.set(backend, this.#now() + DETOUR_MS);
    return isNews;
  }

  #better({ ip }: ParentAddress, record: Record): QuicBackend {
    // Over a long and lossy path a piece of quinn's takes many times as long as one of quiche's; over others it can wait.
    const isUnseen = record.rttMs === Infinity && record.pieceCount <= UNSEEN_COUNT_MAX;
    const isLong = record.rttMs !== Infinity && record.rttMs > RTT_MS_MAX;
    if (isUnseen || isLong || record.isLossy || this.#isForQuiche(ip)) return "quiche";
    const measuredCount = (backend: QuicBackend): number => record.countByBackend.get(backend) ?? 0;
    const [quiche, quinn] = [measuredCount("quiche"), measuredCount("quinn")];
    // In turns, because pieces that run at once come in before anything is measured.
    if (quiche < TRIAL_COUNT || quinn < TRIAL_COUNT) {
      if (quiche >= TRIAL_COUNT) return "quinn";
      if (quinn >= TRIAL_COUNT) return "quiche";
      return record.pieceCount % 2 === 1 ? "quiche" : "quinn";
    }
    const rate = (backend: QuicBackend): number => record.goodput.get(backend) ?? 0;
    const better = rate("quinn") > rate("quiche") ? "quinn" : "quiche";
    return record.pieceCount % RETRIAL_INTERVAL === 0 ? otherThan(better) : better;
  }

  #isForQuiche(ip: string): boolean {
    let answer = this.#isQuicheGround.get(ip);
    if (answer === undefined) {
      const { isOwnMachine, mtu } = this.#init.firstHopTo(ip);
      answer = isOwnMachine || (mtu !== undefined && mtu > ORDINARY_MTU);
      remember(this.#isQuicheGround, ip, answer);
    }
    return answer;
  }

  #isDetoured({ detours }: Record, backend: QuicBackend): boolean {
    return (detours.get(backend) ?? 0) > this.#now();
  }

  #recordOf({ hostId }: ParentAddress): Record {
    const record = this.#records.get(hostId) ?? {
      goodput: new Map(),
      countByBackend: new Map(),
      detours: new Map(),
      pieceCount: 0,
      rttMs: Infinity,
      isLossy: false,
    };
    this.#records.delete(hostId); // last again
    remember(this.#records, hostId, record);
    return record;
  }
}

function notePath(record: Record, path: PathReport | undefined): void {
  if (path === undefined) return;
  const { rttMs, sentPacketCount, lostPacketCount } = path;
  record.rttMs = Math.min(record.rttMs, rttMs);
  record.isLossy =
    sentPacketCount >= PACKET_COUNT_MIN && lostPacketCount > LOSS_RATE_MAX * sentPacketCount;
}

function otherThan(backend: QuicBackend): QuicBackend {
  return backend === "quiche" ? "quinn" : "quiche";
}

function remember<Value>(map: Map<string, Value>, key: string, value: Value): void {
  const [oldest] = map.keys();
  if (map.size >= PARENT_COUNT_MAX && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
