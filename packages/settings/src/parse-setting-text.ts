import * as z from "zod";
import { parse as parseYaml } from "yaml";

/**
 * The value that a text from the environment or a flag stands for: the text itself where the setting takes text, else what it reads
 * as in YAML (`true`, `4006`, `[a, b]`, `{ name: value }`), else a list cut at commas. A text that fits none of these is returned as
 * it is, for the schema to refuse.
 */
export function parseSettingText(text: string, schema: z.core.$ZodType): unknown {
  const candidates = [
    () => text,
    () => parseYaml(text),
    () => text.split(",").map((one) => one.trim()),
  ];
  for (const candidate of candidates) {
    const value = attempt(candidate);
    if (value !== undefined && value !== null && z.safeParse(schema, value).success) return value;
  }
  return text;
}

function attempt(candidate: () => unknown): unknown {
  try {
    return candidate();
  } catch {
    // No YAML: the schema's own complaint about the text says more.
    return undefined;
  }
}
