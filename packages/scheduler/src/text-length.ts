/** What a field costs besides its text. Bytes. */
const FIELD_LENGTH = 16;

/** About how much memory a message takes that came off the wire. Bytes. */
export function textLengthOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value !== "object" || value === null) return 0;
  let length = 0;
  for (const [name, field] of Object.entries(value)) {
    if (field !== null) length += FIELD_LENGTH + textLengthOf(field);
    // Keys of maps are texts of the caller's; names of fields are not, and exist once.
    if (!Array.isArray(value)) length += name.length;
  }
  return length;
}
