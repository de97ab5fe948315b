import * as z from "zod";
import { foldName } from "./nearest-name.ts";

/** A key of the schema: a section with keys of its own, or a setting with a value. */
export interface KnownSetting {
  readonly keys: readonly string[];
  readonly schema: z.core.$ZodType;
  /** By key; undefined for a setting with a value. */
  readonly children: ReadonlyMap<string, KnownSetting> | undefined;
}

/** The keys a schema knows. Only objects are sections: records, lists and unions are values. */
export function knownSettings(schema: z.core.$ZodType, keys: readonly string[] = []): KnownSetting {
  const object = unwrap(schema);
  if (!(object instanceof z.ZodObject)) return { keys, schema, children: undefined };
  const shape: Readonly<Record<string, z.core.$ZodType>> = object.shape;
  const children = Object.entries(shape).map(
    ([key, child]) => [key, knownSettings(child, [...keys, key])] as const,
  );
  return { keys, schema, children: new Map(children) };
}

/** Every setting with a value, as dotted paths in the order of the schema. */
export function settingPaths(schema: z.core.$ZodType): string[] {
  return valuesOf(knownSettings(schema)).map(({ keys }) => keys.join("."));
}

/** Every setting with a value below `known`. */
export function valuesOf(known: KnownSetting): KnownSetting[] {
  if (known.children === undefined) return [known];
  return [...known.children.values()].flatMap(valuesOf);
}

/** The child with this key, in the schema's spelling or with underscores in it (`ca_cert`). */
export function childOf(known: KnownSetting, key: string): KnownSetting | undefined {
  const exact = known.children?.get(key);
  if (exact !== undefined || !key.includes("_")) return exact;
  const folded = foldName(key);
  for (const [name, child] of known.children ?? []) if (foldName(name) === folded) return child;
  return undefined;
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  )
    return unwrap(schema.def.innerType);
  if (schema instanceof z.ZodPipe) return unwrap(schema.def.in);
  return schema;
}
