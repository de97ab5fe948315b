import { isIP } from "node:net";
import { size } from "@damselfly/settings";
import * as z from "zod";

/** A TCP or UDP port; 0 picks a free one. */
export function port(): z.ZodInt {
  return z.int().min(0).max(65_535);
}

/** How many, at least one. */
export function count(): z.ZodInt {
  return z.int().min(1);
}

/** An IPv4 or IPv6 address. */
export function ipLiteral(): z.ZodString {
  return z.string().refine((text) => isIP(text) !== 0, "an IP address");
}

/** `host:port`, `1.2.3.4:port` or `[v6]:port`. */
export function hostAndPort(): z.ZodString {
  return z.string().refine(isHostAndPort, "an address such as 10.0.0.1:8002");
}

/** Permission bits as `chmod` takes them: `0660`, quoted, because an unquoted one is a decimal number in YAML. */
export function permissions(): z.ZodType<number, string | number> {
  return z.union([z.string(), z.number()]).transform((text, context) => {
    if (typeof text === "string" && /^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
    context.issues.push({
      code: "custom",
      message: "octal permissions in quotes, such as '0660'",
      input: text,
    });
    return z.NEVER;
  });
}

/** Dragonfly's default, which no machine reaches: none. Bytes a second. */
const UNLIMITED = 50e9;
/** Less, shared by a few pieces, and whoever sends or takes one is given up as stalled. Bytes a second. */
const BANDWIDTH_MIN = 64 * 1024;

/** Bytes a second; Infinity: no bound. */
export function bandwidth(): z.ZodDefault<z.ZodType<number, string | number>> {
  return size({ min: BANDWIDTH_MIN })
    .transform((bytes) => (bytes >= UNLIMITED ? Infinity : bytes))
    .default(Infinity);
}

/** The name or the number of a user or group. */
export function account(): z.ZodType<string, string | number> {
  return z.union([z.string(), z.int().min(0)]).transform(String);
}

/** A key of Dragonfly's that is accepted and does nothing here; `why` is said at start. */
export function inert(why: string): z.ZodOptional<z.ZodUnknown> {
  return z.unknown().optional().meta({ inert: why });
}

/** The `why` of an inert key's schema. */
export function inertReason(schema: z.core.$ZodType): string | undefined {
  const why = z.globalRegistry.get(schema)?.["inert"];
  return typeof why === "string" ? why : undefined;
}

function isHostAndPort(text: string): boolean {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+)):(\d{1,5})$/i.exec(text);
  if (match === null) return false;
  const [, v6, , portText] = match;
  const number = Number(portText);
  return (v6 === undefined || isIP(v6) === 6) && number > 0 && number <= 65_535;
}
