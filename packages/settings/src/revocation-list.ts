import { readFile, stat } from "node:fs/promises";
import { formatSerial } from "@damselfly/transport";
import { SettingsError } from "./errors.ts";

/**
 * Certificates that are trusted no more though an authority vouches for them: a text, one a line.
 *
 *     5A3BC0FFEE…  # n3, valid to 2027-06-01, revoked 2026-06-01: stolen
 *
 * The serial number counts, in hex, as `dfdaemon certs show` and `openssl x509 -serial` print it; what follows `#` is for
 * people. It is not the fingerprint, which whoever has the certificate's key can change without the authority, by
 * another signature that is as good; the serial number is what the authority has signed. It is not a CRL either: those
 * have to be signed anew before they run out, by a key that should not be at hand. Whoever can write this file on a
 * node can write its key as well.
 *
 * @throws {RangeError} naming the first line that is no serial number
 */
export function parseRevocationList(text: string): string[] {
  const serials = new Set<string>();
  for (const [index, line] of text.split("\n").entries()) {
    const [entry = ""] = line.split("#");
    const serial = entry.trim().replace(/^serial=/i, "");
    if (serial === "") continue;
    const digits = serial.replaceAll(":", "");
    if (!/^[0-9a-f]+$/i.test(digits)) throw fault(index, "it is no number in hex");
    // RFC 5280, section 4.1.2.2: at most 20 bytes. SHA-1 has as many, and cannot be told from it.
    if (digits.length === 64)
      throw fault(index, "it is a fingerprint, by which a certificate cannot be kept out for sure");
    if (formatSerial(digits).length > 40) throw fault(index, "it is longer than 20 bytes");
    serials.add(formatSerial(digits));
  }
  return [...serials];
}

/**
 * One line, its end included.
 *
 * @param remark for people; what would end the line is taken out of it
 */
export function formatRevocation(serial: string, remark: string): string {
  return `${formatSerial(serial)}  # ${remark.replaceAll(/\p{C}+/gu, " ")}\n`;
}

/** What stands at the top of a new list. */
export const REVOCATION_LIST_HEAD: string = `# Certificates that are trusted no more: one serial number a line, in hex, as 'dfdaemon certs show'
# prints it. What follows # is for people. Nodes read it from where security.revoked says.
`;

/** Far more than a cluster revokes, and far less than fills the memory. Bytes. */
const LENGTH_MAX = 4 * 2 ** 20;

/** A list as it lies in its file. */
export interface RevocationList {
  readonly serials: readonly string[];
  /** Its last line has an end: one that was cut short mostly has none, and an empty one never. */
  readonly isWhole: boolean;
}

/**
 * @param setting the key that names the file, for messages
 * @throws {SettingsError} `ERR_SETTINGS_TLS` naming the file and the line
 */
export async function loadRevocationList(path: string, setting: string): Promise<RevocationList> {
  const what = `Cannot use the list of revoked certificates ${path} (${setting})`;
  try {
    const { size } = await stat(path);
    if (size > LENGTH_MAX)
      throw new RangeError(`it has ${size} bytes, expected at most ${LENGTH_MAX}`);
    const text = await readFile(path, "utf8");
    return { serials: parseRevocationList(text), isWhole: text.endsWith("\n") };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SettingsError("ERR_SETTINGS_TLS", `${what}: ${why}`, { cause });
  }
}

function fault(index: number, why: string): RangeError {
  return new RangeError(`line ${index + 1}: ${why}, expected a serial number`);
}
