/** What is seen of the connections to one parent over one period. */
export interface GrowthSample {
  /** Bytes received in the period over all of them, a second. */
  readonly bytesPerSecond: number;
  /** Requests that run: connections beyond these could carry nothing. */
  readonly requestCount: number;
  /** Connections that some of them run on: before there are as many as there should be, nothing shows. */
  readonly connectionCount: number;
  /** Whether the path is longer than a LAN's, or loses packets. */
  readonly isHard: boolean;
}

/** Beyond this another connection brought nothing in any measurement, and each takes its share from everybody else. */
export const WIDTH_MAX = 8;

/** Where a hard path starts: in all measurements at delay and loss four carried more than twice as much as one. */
const START_WIDTH = 4;

/** A wider step must bring this much to be kept. */
const GAIN_MIN = 1.12;

/** A narrower one may cost this much. */
const LOSS_MAX = 0.93;

/** Periods that a step is given to show what it brings: connections must be made, and congestion windows grow. */
const TRIAL_PERIODS = 2;

/** Periods between two trials once no step up pays. */
const REST_PERIODS = 60;

interface Trial {
  readonly formerWidth: number;
  readonly formerRate: number;
  periodsLeft: number;
  bestRate: number;
}

/**
 * How many connections to one parent pay: one on a LAN; on a long path twice as many as before as long as that brings
 * more, up to eight. Once it does not, it goes back, and tries from time to time whether fewer do as well, or more
 * better. It knows no clock: a period is what its user makes it.
 */
export class GrowthPolicy {
  #width: number;
  #isHard = false;
  #trial: Trial | undefined;
  #isWidening = true;
  #restLeft = 0;

  /** @param width what paid the last time, 1 if nothing is known */
  constructor(width: number) {
    this.#width = width;
  }

  get width(): number {
    return this.#width;
  }

  /** To be told as soon as it is known; `isHard`: the path is longer than a LAN's, or loses packets. */
  learn(isHard: boolean): void {
    if (!isHard) {
      this.#width = 1;
      this.#trial = undefined;
    } else if (!this.#isHard && this.#width === 1) {
      this.#width = START_WIDTH;
    }
    this.#isHard = isHard;
  }

  /** Ends a period. */
  observe(sample: GrowthSample): void {
    this.learn(sample.isHard);
    if (!this.#isHard) return;
    // With too little to do nothing shows, neither that more would help nor that fewer would do.
    if (Math.min(sample.requestCount, sample.connectionCount) < this.#width) return;
    if (this.#trial !== undefined) this.#judge(this.#trial, sample.bytesPerSecond);
    else if (this.#restLeft > 0) this.#restLeft--;
    else this.#try(sample);
  }

  #try({ bytesPerSecond, requestCount }: GrowthSample): void {
    const width = this.#isWidening ? this.#width * 2 : this.#width / 2;
    if (width < 1 || width > WIDTH_MAX || width > requestCount) {
      this.#rest();
      return;
    }
    this.#trial = {
      formerWidth: this.#width,
      formerRate: bytesPerSecond,
      periodsLeft: TRIAL_PERIODS,
      bestRate: 0,
    };
    this.#width = width;
  }

  #judge(trial: Trial, bytesPerSecond: number): void {
    trial.periodsLeft--;
    // What narrower ones bring shows only when what ran on the others has ended.
    trial.bestRate = this.#isWidening ? Math.max(trial.bestRate, bytesPerSecond) : bytesPerSecond;
    const isGood = trial.bestRate >= trial.formerRate * (this.#isWidening ? GAIN_MIN : LOSS_MAX);
    if (trial.periodsLeft > 0 && !(isGood && this.#isWidening)) return;
    this.#trial = undefined;
    if (!isGood) this.#width = trial.formerWidth;
    if (!(isGood && this.#isWidening)) this.#rest();
  }

  /** The next trial goes the other way. */
  #rest(): void {
    this.#restLeft = REST_PERIODS;
    this.#isWidening = !this.#isWidening;
  }
}
