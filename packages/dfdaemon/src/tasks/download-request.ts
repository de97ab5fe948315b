import type { Priority__Output, SchedulingPolicy__Output } from "@damselfly/rpc";
import type { OriginRequest } from "../origins/origin.ts";
import type { ByteRange } from "./byte-range.ts";

/** What somebody wants downloaded: the daemon's own form of Dragonfly's `Download`. */
export interface DownloadRequest {
  readonly taskId: string;
  readonly origin: OriginRequest;
  readonly tag: string;
  readonly application: string;
  readonly priority: Priority__Output;
  readonly filteredQueryParams: readonly string[];
  /** What else the task id may come from: a seed that a scheduler asks on our behalf has to compute the same one. */
  readonly contentForCalculatingTaskId?: string;
  readonly enableTaskIdBasedBlobDigest?: boolean;
  /** Bytes; absent: chosen from the content length. */
  readonly pieceLength?: number;
  /** Only these bytes, once the length is known. */
  readonly range?: (contentLength: number) => ByteRange;
  /** `<algorithm>:<value>` the whole content must have. */
  readonly digest?: string;
  /** A scheduler sent us: go to the origin at once. */
  readonly needBackToSource: boolean;
  readonly disableBackToSource: boolean;
  /** ALWAYS: even a small file goes through the scheduler. */
  readonly schedulingPolicy: SchedulingPolicy__Output;
  /** Only what the task is; nothing is fetched. */
  readonly metadataOnly: boolean;
  /** Ask the origin whether the cached file is still the present one. */
  readonly revalidate: boolean;
  /** When it was asked for: a copy made since is as fresh as can be wanted. Unix milliseconds; absent: now. */
  readonly askedAtMs?: number;
  /** Ask the origin for all of it in one answer, whatever that is of: asked for in parts, it has not stayed the same for long enough. */
  readonly inOneGo?: boolean;
  /** Nobody on this node asked: the download is worth going on with for the children it has. */
  readonly forOthers?: boolean;
  /** Where the file is to appear; absent: the caller only wants the pieces. */
  readonly output?: {
    readonly path: string;
    readonly overwrite: boolean;
    readonly forceHardLink: boolean;
  };
}
