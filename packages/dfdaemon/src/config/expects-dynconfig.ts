import { existsSync } from "node:fs";
import type { Config } from "./config.ts";
import { DEFAULT_DYNCONFIG_PATH } from "./default-paths.ts";

/** Where it usually is, the file need not be; one that somebody named will come. */
export function expectsDynconfig({ path }: Config["dynconfig"]): boolean {
  return path !== DEFAULT_DYNCONFIG_PATH || existsSync(path);
}
