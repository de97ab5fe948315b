import { X509Certificate } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatSerial } from "@damselfly/transport";

/** A certificate that an authority has issued. */
export interface IssuedCertificate {
  readonly serial: string;
  readonly validTo: Date;
  readonly hostname: string;
}

/** Beside the authority: who is to be revoked may be gone, and its certificate with it. */
export function issuedListPath(dir: string): string {
  return join(dir, "issued.txt");
}

const HEAD = `# Certificates issued by the authority in this directory: serial number, end, hostname.
# 'dfdaemon certs revoke --hostname' finds them here.
`;

/**
 * Writes down that a certificate is about to be issued: before anybody has it, so that none is unknown.
 *
 * @throws what the file system says
 */
export async function noteIssued(dir: string, cert: string, hostname: string): Promise<void> {
  const { serialNumber, validTo } = new X509Certificate(cert);
  const end = new Date(validTo).toISOString();
  const file = await open(issuedListPath(dir), "a", 0o644);
  try {
    const { size } = await file.stat();
    const line = `${formatSerial(serialNumber)}  ${end}  ${hostname}\n`;
    await file.appendFile(size === 0 ? HEAD + line : line);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** @throws {Error} naming the line that cannot be understood; what the file system says, but for a file that is not there */
export async function readIssued(dir: string): Promise<IssuedCertificate[]> {
  const path = issuedListPath(dir);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "" || line.startsWith("#")) return [];
    const [serial = "", end = "", hostname = "", ...rest] = line.trim().split(/\s+/);
    const validTo = new Date(end);
    const isEntry = /^[0-9A-F]{1,40}$/.test(serial) && !Number.isNaN(validTo.getTime());
    if (!isEntry || hostname === "" || rest.length > 0)
      throw new Error(
        `Cannot read ${path}: line ${index + 1} is no serial number, end and hostname`,
      );
    return [{ serial, validTo, hostname }];
  });
}
