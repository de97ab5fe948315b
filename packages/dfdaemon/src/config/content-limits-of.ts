import type { ContentLimitsInit } from "../data-plane/content-limits.ts";
import type { Config } from "./config.ts";

const MIB = 1024 * 1024;
/** Of the machine's memory, with `dataPlane.memoryLimit: auto`, */
const AUTO_SHARE = 1 / 8;
/** but no less than a few pieces each way take, and no more than they are of use. */
const AUTO_MIN = 256 * MIB;
const AUTO_MAX = 1024 * MIB;

/** @param memoryLength of the machine, or what this process is allowed of it; bytes */
export function contentLimitsOf(
  { dataPlane, download, upload }: Config,
  memoryLength: number,
): ContentLimitsInit {
  const auto = Math.min(AUTO_MAX, Math.max(AUTO_MIN, Math.floor(memoryLength * AUTO_SHARE)));
  return {
    memoryLimit: dataPlane.memoryLimit === "auto" ? auto : dataPlane.memoryLimit,
    uploadRate: upload.bandwidthLimit,
    downloadRate: download.bandwidthLimit,
    originRate: download.backToSourceBandwidthLimit,
  };
}
