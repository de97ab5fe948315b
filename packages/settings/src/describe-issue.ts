import type * as z from "zod";

/** What the schema wanted at a place, in words that follow "wanted". */
export function describeWanted(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return TYPE_NAMES[issue.expected] ?? issue.expected;
    case "invalid_value":
      return listOf(issue.values.map((value) => String(value)));
    case "too_small":
      return boundOf("at least", issue.minimum, issue.origin);
    case "too_big":
      return boundOf("at most", issue.maximum, issue.origin);
    case "invalid_union":
      return listOf([
        ...new Set(
          issue.errors.map((branch) => branch.map((one) => describeWanted(one)).join(" and ")),
        ),
      ]);
    case "unrecognized_keys":
      return `no key ${listOf(issue.keys)}`;
    case "custom":
    case "invalid_element":
    case "invalid_format":
    case "invalid_key":
    case "not_multiple_of":
      break;
  }
  return issue.message;
}

/** What was there instead, cut short; hidden where the key says that it is nobody's business. */
export function describeGot(value: unknown, keys: readonly PropertyKey[]): string {
  if (value === undefined) return "nothing";
  if (keys.some((key) => SECRET.test(String(key)))) return "something else (not shown)";
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? `a list of ${value.length}` : "a section";
  const text = typeof value === "string" ? `'${value}'` : formatScalar(value);
  return text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text;
}

const SHOWN_LENGTH_MAX = 80;
const SECRET = /passw|token|secret|header|auth|cookie/i;

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "text",
  boolean: "true or false",
  object: "a section",
  record: "a section of names and values",
  array: "a list",
};

function boundOf(relation: string, bound: number | bigint, origin: string): string {
  return origin === "string" ? `${relation} ${bound} characters` : `${relation} ${bound}`;
}

function listOf(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** JSON has no word for `.inf` and `.nan`. */
function formatScalar(value: unknown): string {
  return typeof value === "number" ? String(value) : JSON.stringify(value);
}
