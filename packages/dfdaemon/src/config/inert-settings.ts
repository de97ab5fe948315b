import {
  knownSettings,
  valuesOf,
  type KnownSetting,
  type SettingSource,
} from "@damselfly/settings";
import type * as z from "zod";
import { inertReason } from "./setting-types.ts";

/**
 * Which of the settings that were given do nothing here, and why: a line for each reason, as in `proxy, tracing: this is not built`.
 * A section that does nothing as a whole is named once.
 */
export function inertSettings(
  schema: z.core.$ZodType,
  sources: ReadonlyMap<string, SettingSource>,
): string[] {
  const byReason = new Map<string, string[]>();
  for (const { name, why } of inertNames(knownSettings(schema), sources))
    byReason.set(why, [...(byReason.get(why) ?? []), name]);
  return [...byReason].map(([why, names]) => `${names.join(", ")}: ${why}`);
}

interface InertName {
  readonly name: string;
  readonly why: string;
}

function inertNames(
  known: KnownSetting,
  sources: ReadonlyMap<string, SettingSource>,
): readonly InertName[] {
  const name = known.keys.join(".");
  if (known.children === undefined) {
    const why = inertReason(known.schema);
    return why === undefined || !sources.has(name) ? [] : [{ name, why }];
  }
  const names = [...known.children.values()].flatMap((child) => inertNames(child, sources));
  const reasons = new Set(valuesOf(known).map(({ schema }) => inertReason(schema)));
  const [why] = reasons;
  // Of the section as a whole.
  if (names.length > 0 && reasons.size === 1 && why !== undefined) return [{ name, why }];
  return names;
}
