import { createHash } from "node:crypto";

import type { PieceInfo } from "@damselfly/transport";

import { StorageError } from "./errors.ts";
import { loadCrc32 } from "./load-crc32.ts";

/** Computes one digest over bytes as they pass. */
export interface Digester {
  update(bytes: Uint8Array): void;
  /** `<algorithm>:<value>`; call once, at the end. */
  text(): string;
}

/** Pieces are digested with this when nobody asks for another: Dragonfly's daemons use no other. */
export const DEFAULT_ALGORITHM = "crc32";

/** @throws {StorageError} `ERR_DIGEST_MISMATCH` for an algorithm other than md5, sha1, sha256, sha512 and crc32 */
export function createDigester(algorithm: string): Digester {
  if (algorithm === "crc32") return new Crc32Digester();
  const valueLength = HEX_LENGTHS.get(algorithm);
  if (valueLength === undefined) {
    throw new StorageError(
      "ERR_DIGEST_MISMATCH",
      `Cannot compute digest: algorithm is ${JSON.stringify(algorithm.slice(0, 32))}, expected one of crc32, ${[...HEX_LENGTHS.keys()].join(", ")}`,
    );
  }
  const hash = createHash(algorithm);
  return {
    update: (bytes) => void hash.update(bytes),
    text: () => `${algorithm}:${hash.digest("hex")}`,
  };
}

/**
 * A digest as somebody wrote it, in the one form that is compared: hex in lower case, CRC-32 decimal.
 *
 * @throws {StorageError} `ERR_DIGEST_MISMATCH` if no content could have it
 */
export function parseDigest(text: string): { readonly algorithm: string; readonly text: string } {
  const colon = text.indexOf(":");
  const algorithm = text.slice(0, Math.max(colon, 0));
  const value = text.slice(colon + 1).toLowerCase();
  const length = HEX_LENGTHS.get(algorithm);
  const valid =
    algorithm === "crc32"
      ? /^\d{1,10}$/.test(value)
      : length !== undefined && value.length === length && /^[0-9a-f]+$/.test(value);
  if (!valid) {
    throw new StorageError(
      "ERR_DIGEST_MISMATCH",
      `Cannot check digest ${JSON.stringify(text.slice(0, 160))}: expected crc32:<decimal>, or md5, sha1, sha256 or sha512 with their hex digits`,
    );
  }
  return {
    algorithm,
    text: `${algorithm}:${algorithm === "crc32" ? String(Number(value)) : value}`,
  };
}

/** Whether content could have it. */
export function isDigest(text: string): boolean {
  try {
    parseDigest(text);
    return true;
  } catch {
    return false;
  }
}

/** The one of a piece's digests to check it with. */
export function strongestDigestOf(piece: Pick<PieceInfo, "digest" | "strongDigest">): {
  readonly algorithm: string;
  readonly text: string;
} {
  return parseDigest(piece.strongDigest ?? piece.digest);
}

/** Whether bytes that have it are those that were meant, also where somebody tries to have others taken for them. */
export function isStrong(algorithm: string): boolean {
  return algorithm === "sha256" || algorithm === "sha512";
}

/** CRC-32 (IEEE), decimal, as Dragonfly writes it: "test content" is `crc32:1475635037`. */
class Crc32Digester implements Digester {
  readonly #crc32 = loadCrc32();
  #value = 0;

  update(bytes: Uint8Array): void {
    this.#value = this.#crc32(bytes, this.#value);
  }

  text(): string {
    return `crc32:${this.#value}`;
  }
}

const HEX_LENGTHS: ReadonlyMap<string, number> = new Map([
  ["md5", 32],
  ["sha1", 40],
  ["sha256", 64],
  ["sha512", 128],
]);
