// What a person who waits sees, on standard error.
import { DID_NOT_FINISH } from "./did-not-finish.mjs";
import { digits, nameOf } from "./tables.mjs";

export function createProgress() {
  const startedAt = performance.now();
  const line = (text) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    console.error(`${seconds.padStart(5)} s  ${text}`);
  };
  return {
    line,
    sample(sample) {
      const { round, bulk, failure, failureDetail } = sample;
      const rate = bulk === undefined ? "" : `${digits(bulk.bytes / 1e6 / bulk.seconds)} MB/s`;
      const what = [rate, failure].filter(Boolean).join(", ");
      line(`  round ${round + 1}: ${nameOf(sample)}: ${what}`);
      if (failure !== undefined && failure !== DID_NOT_FINISH) console.error(failureDetail);
    },
  };
}
