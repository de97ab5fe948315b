import { arch, platform } from "node:os";
import type { QuicheBinding } from "./binding.ts";
import { QuicError } from "./errors.ts";

/** By name, how to load it. */
export type Carriers = Readonly<Record<string, () => Promise<unknown>>>;

/** Packages that carry the native binding, tried in this order. Written out in the import, so that a bundler sees what is loaded. */
const CARRIERS: Carriers = {
  "@matrixai/quic": () => import("@matrixai/quic/native/quiche.js"),
};

let loading: Promise<QuicheBinding> | undefined;

/**
 * Loads the native quiche binding, once a process.
 *
 * @throws {QuicError} `ERR_QUIC_UNAVAILABLE` saying which platform this is and what each candidate answered.
 *   The prebuilt binaries exist for Linux x64 with glibc 2.34 or newer, macOS and Windows x64.
 */
export function loadQuiche(): Promise<QuicheBinding> {
  loading ??= loadFirst(CARRIERS);
  return loading;
}

/** The loading itself, without the memory of `loadQuiche`. */
export async function loadFirst(carriers: Carriers): Promise<QuicheBinding> {
  const answers: string[] = [];
  let cause: unknown;
  for (const [carrier, load] of Object.entries(carriers)) {
    try {
      const loaded = await load();
      const binding = hasDefault(loaded) ? loaded.default : loaded;
      if (isBinding(binding) && binding.versionIsSupported(1)) return binding;
      answers.push(`${carrier}: not the quiche binding, or not one for QUIC version 1`);
    } catch (error) {
      cause = error;
      const text = error instanceof Error ? error.message : String(error);
      answers.push(`${carrier}: ${text.split("\n", 1)[0] ?? ""}`);
    }
  }
  throw new QuicError(
    "ERR_QUIC_UNAVAILABLE",
    `Cannot load QUIC: no native binding for ${platform()}-${arch()}, ` +
      `prebuilt ones need Linux x64 with glibc 2.34 or newer, macOS or Windows x64 (${answers.join("; ")})`,
    { cause },
  );
}

function hasDefault(loaded: unknown): loaded is { default: unknown } {
  return typeof loaded === "object" && loaded !== null && "default" in loaded;
}

function isBinding(value: unknown): value is QuicheBinding {
  return (
    typeof value === "object" &&
    value !== null &&
    "versionIsSupported" in value &&
    "Connection" in value &&
    "Config" in value
  );
}
