import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import * as z from "zod";
import { DaemonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { messageOf } from "../message-of.ts";
import { parseBlockList } from "./block-list.ts";
import { resolveSchedulers, type LookUp } from "./resolve-schedulers.ts";
import type { SchedulerListing, SchedulerSource } from "./scheduler-source.ts";

/** What Dragonfly's daemons look for when the file names no scheduler. */
const DEFAULT_ADDRESS = "dragonfly-scheduler:8002";

export interface DynconfigFileOptions {
  /** A seed heeds another block list than the others. */
  readonly seed: boolean;
  readonly logger: Logger;
  readonly lookUp?: LookUp;
}

/**
 * Schedulers from Dragonfly's `dynconfig.yaml`, read anew each time: `scheduler.addrs`, else all addresses of `scheduler.addr`. It is never
 * written: Dragonfly's daemon makes one that names `dragonfly-scheduler:8002`, which would keep ours from running on their own.
 *
 * Source: dragonflyoss/client 1.5.10, dynconfig/local.rs.
 */
export function dynconfigFile(path: string, options: DynconfigFileOptions): SchedulerSource {
  const { seed, logger, lookUp } = options;
  return {
    name: path,
    async list(): Promise<SchedulerListing> {
      const { scheduler, clientConfig, seedClientConfig } = await readDynconfig(path);
      const blockList = await parseBlockList(seed ? seedClientConfig : clientConfig, (problem) =>
        logger.warn({ path }, problem),
      );
      const addrs = scheduler?.addrs ?? [];
      return {
        schedulers: await resolveSchedulers(
          addrs.length > 0 ? addrs : [scheduler?.addr ?? DEFAULT_ADDRESS],
          lookUp,
        ),
        blockLists: new Map([[0, blockList]]),
      };
    },
    async [Symbol.asyncDispose]() {},
  };
}

const dynconfigSchema = z.object({
  scheduler: z
    .object({ addr: z.string().nullish(), addrs: z.array(z.string()).nullish() })
    .nullish(),
  clientConfig: z.unknown().optional(),
  seedClientConfig: z.unknown().optional(),
});

async function readDynconfig(path: string): Promise<z.infer<typeof dynconfigSchema>> {
  try {
    const result = dynconfigSchema.safeParse(parse(await readFile(path, "utf8")) ?? {});
    if (result.success) return result.data;
    throw new Error(z.prettifyError(result.error));
  } catch (error) {
    throw new DaemonError("ERR_SCHEDULER", `Cannot read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
