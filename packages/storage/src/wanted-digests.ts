import type { PieceInfo } from "@damselfly/transport";

import type { PieceDigest } from "./context.ts";
import { DEFAULT_ALGORITHM, isStrong, parseDigest } from "./digester.ts";
import type { PieceDraft } from "./storage.ts";

/** Which digests to compute of a piece on its way to the disk, and what they have to be. */
export class WantedDigests {
  /** Each once. The first one is of the digest that goes with the piece wherever it goes. */
  readonly algorithms: readonly string[];
  readonly #expected: readonly { readonly algorithm: string; readonly text: string }[];

  /** @throws {StorageError} `ERR_DIGEST_MISMATCH` for an expected digest that no content could have */
  constructor(
    draft: Pick<PieceDraft, "digest" | "strongDigest" | "digests">,
    pieceDigest: PieceDigest,
  ) {
    const first = draft.digest === undefined ? undefined : parseDigest(draft.digest);
    const isStrict = pieceDigest === "sha256" && draft.strongDigest !== undefined;
    const strong = isStrict ? [draft.strongDigest] : [];
    const others = [...strong, ...(draft.digests ?? [])].map(parseDigest);
    this.#expected = first === undefined ? others : [first, ...others];
    const asked = this.#expected.map(({ algorithm }) => algorithm);
    const own = pieceDigest === "sha256" ? [pieceDigest] : [];
    this.algorithms = [...new Set([first?.algorithm ?? DEFAULT_ALGORITHM, ...asked, ...own])];
  }

  /** @param digests what was computed, in the order of `algorithms` */
  findWrong(
    digests: readonly string[],
  ): { readonly found: string; readonly expected: string } | undefined {
    for (const [index, algorithm] of this.algorithms.entries()) {
      const found = digests[index] ?? "missing";
      if (!found.startsWith(`${algorithm}:`)) return { found, expected: `one of ${algorithm}` };
    }
    for (const { algorithm, text } of this.#expected) {
      const found = digests[this.algorithms.indexOf(algorithm)] ?? "missing";
      if (found !== text) return { found, expected: text };
    }
    return undefined;
  }

  /** What is kept of them: the first, and a strong one if that is not. */
  toRecord(digests: readonly string[]): Pick<PieceInfo, "digest" | "strongDigest"> {
    const [digest = ""] = digests;
    const strong = this.algorithms.findIndex(isStrong);
    const strongDigest = strong > 0 ? digests[strong] : undefined;
    return { digest, ...(strongDigest && { strongDigest }) };
  }
}
