/** What a sender has counted on one connection since its start. */
export interface LossSample {
  readonly sentPacketCount: number;
  readonly lostPacketCount: number;
  readonly rttMs: number;
}

/** Fewer packets say nothing about a rate of some tenths of a percent. */
const SENT_COUNT_MIN = 400;

/**
 * Losses that cubic does not bear: by the rule of Mathis et al. (1997) it sends about 1.2 / sqrt(p) packets a round
 * trip, at 0.5 % seventeen. On a LAN a full queue loses as many for a moment, so it takes longer to be believed there;
 * with 1 % lost for good BBR moved twice as much even without delay.
 */
const LOSS_MIN = 0.005;
const LAN_STRIKE_COUNT = 4;

/** Tells from a connection's counters whether its path loses more than cubic bears. */
export class LossJudge {
  readonly #lanRttMs: number;
  #sentBefore = 0;
  #lostBefore = 0;
  #strikeCount = 0;

  /** @param lanRttMs round trips up to here are a LAN's */
  constructor(lanRttMs: number) {
    this.#lanRttMs = lanRttMs;
  }

  /** True once it is certain. */
  observe({ sentPacketCount, lostPacketCount, rttMs }: LossSample): boolean {
    const sent = sentPacketCount - this.#sentBefore;
    if (sent < SENT_COUNT_MIN) return false;
    const loss = (lostPacketCount - this.#lostBefore) / sent;
    this.#sentBefore = sentPacketCount;
    this.#lostBefore = lostPacketCount;
    const isLan = rttMs <= this.#lanRttMs;
    this.#strikeCount = loss >= LOSS_MIN ? this.#strikeCount + 1 : 0;
    return this.#strikeCount >= (isLan ? LAN_STRIKE_COUNT : 1);
  }
}
