import { createHash, randomBytes } from "node:crypto";
import { CONNECTION_ID_LENGTH } from "./packet-header.ts";
import type { QuicCongestionControl } from "./quic.ts";

const RANDOM_LENGTH = 13;

/** Their place is the code in the id: never reorder. */
const CODES: readonly QuicCongestionControl[] = ["cubic", "reno", "bbr"];

/**
 * The id a dialler makes up for itself is all that the accepting side sees of it before it has to choose a congestion
 * control for the connection. So the wish for one travels in there:
 *
 *     offset  size  field
 *          0    13  random
 *         13     1  the wish, see `CODES`
 *         14     2  first bytes of the SHA-256 of all before
 *
 * A peer that knows nothing of this has random bytes there: in one of five million ids they look like a wish, which
 * then costs a little speed.
 */
export function createSourceId(wish?: QuicCongestionControl): Buffer {
  const id = randomBytes(CONNECTION_ID_LENGTH);
  if (wish === undefined) return id;
  id[RANDOM_LENGTH] = CODES.indexOf(wish);
  checkOf(id).copy(id, RANDOM_LENGTH + 1);
  return id;
}

/** What the peer that made `id` up wants this side to send by, if it says so. */
export function readWish(id: Uint8Array): QuicCongestionControl | undefined {
  const code = id[RANDOM_LENGTH];
  if (code === undefined || id.byteLength !== CONNECTION_ID_LENGTH) return undefined;
  return checkOf(id).equals(id.subarray(RANDOM_LENGTH + 1)) ? CODES[code] : undefined;
}

/** @throws {RangeError} unless the binding knows it */
export function assertCongestionControl(name: string): asserts name is QuicCongestionControl {
  if ((CODES as readonly string[]).includes(name)) return;
  throw new RangeError(
    `Cannot use congestionControl ${JSON.stringify(name)}: it is one of ${CODES.join(", ")}`,
  );
}

function checkOf(id: Uint8Array): Buffer {
  return createHash("sha256")
    .update(id.subarray(0, RANDOM_LENGTH + 1))
    .digest()
    .subarray(0, CONNECTION_ID_LENGTH - RANDOM_LENGTH - 1);
}
