import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { QuicError } from "@damselfly/quic";
import type { QuinnBinding } from "./binding.ts";

let loaded: QuinnBinding | undefined;

/**
 * Loads the native quinn, once a process.
 *
 * @throws {QuicError} `ERR_QUIC_UNAVAILABLE` saying which platform this is and what each candidate answered.
 *   Prebuilt binaries exist for Linux (x64 and arm64, glibc and musl), macOS (x64 and arm64) and Windows x64.
 */
export function loadQuinn(): QuinnBinding {
  loaded ??= loadFirst(carriersFor(platform(), arch()));
  return loaded;
}

/**
 * The packages that may carry the binary for a platform. Named by strings: they are optional, a package manager
 * installs the one that fits, and a build must pass without any.
 */
export function carriersFor(system: string, cpu: string): readonly string[] {
  const prefix = `@chainsafe/libp2p-quic-${system}-${cpu}`;
  if (system === "linux") return [`${prefix}-gnu`, `${prefix}-musl`];
  return [system === "win32" ? `${prefix}-msvc` : prefix];
}

/** The loading itself, without the memory of `loadQuinn`. */
export function loadFirst(carriers: readonly string[]): QuinnBinding {
  const require = createRequire(import.meta.url);
  const answers: string[] = [];
  let cause: unknown;
  for (const carrier of carriers) {
    try {
      const binding: unknown = require(carrier);
      if (isBinding(binding)) return binding;
      answers.push(`${carrier}: not the quinn binding`);
    } catch (error) {
      cause = error;
      const text = error instanceof Error ? error.message : String(error);
      answers.push(`${carrier}: ${text.split("\n", 1)[0] ?? ""}`);
    }
  }
  throw new QuicError(
    "ERR_QUIC_UNAVAILABLE",
    `Cannot load quinn: no native binding for ${platform()}-${arch()} (${answers.join("; ")})`,
    { cause },
  );
}

function isBinding(value: unknown): value is QuinnBinding {
  return (
    typeof value === "object" &&
    value !== null &&
    ["QuinnConfig", "Server", "Client"].every(
      (name) => name in value && typeof Reflect.get(value, name) === "function",
    )
  );
}
