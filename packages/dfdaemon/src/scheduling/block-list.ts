import type { Priority__Output } from "@damselfly/rpc";
import * as z from "zod";

/** What the operator of a cluster does not want downloaded. */
export interface BlockList {
  blocks(download: BlockableDownload): boolean;
}

export interface BlockableDownload {
  /** As it was asked for, query and all. */
  readonly url: string;
  readonly tag?: string | undefined;
  readonly application?: string | undefined;
  readonly priority: Priority__Output;
}

/** Nothing is blocked. */
export const EMPTY_BLOCK_LIST: BlockList = { blocks: () => false };

/**
 * Reads the `blockList` of a cluster's client configuration, which concerns standard tasks: any one match blocks. A rule that cannot be
 * understood is left out, with a word about it.
 *
 * @param config - what the manager's `client_config` or the section of `dynconfig.yaml` holds, parsed
 * Source: dragonflyoss/client 1.5.10, dynconfig/block_list.rs.
 */
export async function parseBlockList(
  config: unknown,
  complain: (problem: string) => void,
): Promise<BlockList> {
  const parsed = configSchema.safeParse(config ?? {});
  if (!parsed.success) {
    complain(`Cannot read block list: ${z.prettifyError(parsed.error)}`);
    return EMPTY_BLOCK_LIST;
  }
  const { blockList, block_list: snakeCased } = parsed.data;
  const rules = (blockList ?? snakeCased)?.task?.download;
  if (rules === undefined || rules === null) return EMPTY_BLOCK_LIST;
  const urls = await compile(rules.urls ?? [], complain);
  const tags = new Set(rules.tags);
  const applications = new Set(rules.applications);
  const priorities = new Set((rules.priorities ?? []).map((number) => `LEVEL${number}`));
  return {
    blocks: ({ url, tag, application, priority }) =>
      (tag !== undefined && tags.has(tag)) ||
      (application !== undefined && applications.has(application)) ||
      priorities.has(priority) ||
      urls.some((pattern) => pattern.matches(url)),
  };
}

const texts = z.array(z.string()).nullish();
const downloadRules = z.object({
  applications: texts,
  urls: texts,
  tags: texts,
  priorities: z.array(z.int()).nullish(),
});
const rulesByKind = z
  .object({ task: z.object({ download: downloadRules.nullish() }).nullish() })
  .nullish();
const configSchema = z.object({ blockList: rulesByKind, block_list: rulesByKind });

interface Pattern {
  matches(text: string): boolean;
}

/**
 * Patterns as Dragonfly's daemons take them, matched anywhere in the text, in time that is linear in its length. JavaScript's own patterns
 * know neither `(?i)` nor such a bound.
 */
async function compile(
  sources: readonly string[],
  complain: (problem: string) => void,
): Promise<Pattern[]> {
  if (sources.length === 0) return [];
  const { RE2JS } = await import("re2js");
  return sources.flatMap((source) => {
    try {
      const pattern = RE2JS.compile(source);
      return [{ matches: (text: string) => pattern.matcher(text).find() }];
    } catch (error) {
      complain(`Cannot use '${source}' of the block list: ${String(error)}`);
      return [];
    }
  });
}
