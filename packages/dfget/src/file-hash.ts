import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

import { DfgetError } from "./errors.ts";
import type { FileDigest } from "./options.ts";

/** Digests a file's bytes as they come, in file order. */
export interface FileHash {
  update(bytes: Uint8Array): void;
  /**
   * Call it once, at the end.
   *
   * @throws {DfgetError} `ERR_DIGEST_MISMATCH`
   */
  assertMatches(): void;
}

export function createFileHash(expected: FileDigest): FileHash {
  const digest = expected.algorithm === "crc32" ? createCrc32() : createDigest(expected.algorithm);
  return {
    update: (bytes) => digest.update(bytes),
    assertMatches() {
      const actual = digest.final();
      if (actual === expected.value) return;
      throw new DfgetError(
        "ERR_DIGEST_MISMATCH",
        `Cannot accept the file: its digest is ${expected.algorithm}:${actual}, expected ${expected.algorithm}:${expected.value}`,
      );
    },
  };
}

interface Digest {
  update(bytes: Uint8Array): void;
  final(): string;
}

function createDigest(algorithm: "sha256" | "sha512"): Digest {
  const hash = createHash(algorithm);
  return {
    update: (bytes) => void hash.update(bytes),
    final: () => hash.digest("hex"),
  };
}

function createCrc32(): Digest {
  let value = 0;
  return {
    update: (bytes) => {
      // Over an empty ArrayBuffer Node's crc32 forgets the value so far: zlib takes the null pointer for "start".
      if (bytes.byteLength > 0) value = crc32(bytes, value);
    },
    final: () => String(value),
  };
}
