/**
 * The behaviour every transport promises. A transport calls `testTransport` from its own test file:
 *
 *     testTransport("transport-tcp", async ({ source, limits, timeouts, idleTimeoutMs }) => { … });
 */
import { describe } from "vitest";
import { testCancellation } from "./conformance/cancellation.ts";
import { testCapacity } from "./conformance/capacity.ts";
import { testContent } from "./conformance/content.ts";
import type { OpenFixture } from "./conformance/fixture.ts";
import { testLifetime } from "./conformance/lifetime.ts";
import { testParentFailure } from "./conformance/parent-failure.ts";
import { testRanges } from "./conformance/ranges.ts";

export {
  type Fixture,
  type FixtureOptions,
  type OpenFixture,
  withFixture,
} from "./conformance/fixture.ts";
export {
  fillContent,
  SyntheticSource,
  type SyntheticPiece,
  TASK_ID,
} from "./conformance/synthetic-source.ts";
export { createGate, type Gate } from "./conformance/gate.ts";
export { codeOf, failureOf, readPiece } from "./conformance/read-piece.ts";

/**
 * @param open joins a fresh server and a fresh downloader
 * @param options.aheadLengthMax how many content bytes may be on their way for one piece, in the buffers of both
 * sides together; default 32 MiB
 */
export function testTransport(
  name: string,
  open: OpenFixture,
  options: { readonly aheadLengthMax?: number } = {},
): void {
  const { aheadLengthMax = 32 * 1024 * 1024 } = options;
  describe(`${name} as a transport`, () => {
    describe("content", () => testContent(open));
    describe("ranges of a piece", () => testRanges(open));
    describe("cancellation", () => testCancellation(open));
    describe("a parent that fails", () => testParentFailure(open));
    describe("capacity", () => testCapacity(open, { aheadLengthMax }));
    describe("lifetime", () => testLifetime(open));
  });
}
