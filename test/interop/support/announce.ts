import { findForeignBinaries } from "./foreign-binaries.ts";

/** Says, once for all files, whether and with what the interop tests run. */
export default function announce(): void {
  const found = findForeignBinaries();
  console.log(
    typeof found === "string"
      ? `Skipping all interop tests: ${found}; docs/interop.md says how to get Dragonfly's executables`
      : `Interop tests against Dragonfly ${found.version}: ${found.dfdaemon}, ${found.scheduler}`,
  );
}
