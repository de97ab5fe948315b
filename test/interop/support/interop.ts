import { describe } from "vitest";
import { useCluster } from "../../support/daemon.ts";
import { findForeignBinaries } from "./foreign-binaries.ts";
import { MixedCluster } from "./their-cluster.ts";

const found = findForeignBinaries();

/** As vitest's `describe`, skipped where Dragonfly's executables are not installed. */
export const describeInterop = describe.skipIf(typeof found === "string");

/** As `useCluster`, of a cluster that runs Dragonfly's programs, too. To be called in `describeInterop`. */
export function useMixedCluster(lifetime: "test" | "file"): MixedCluster {
  return useCluster(lifetime, new MixedCluster(found));
}
