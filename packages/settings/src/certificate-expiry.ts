import { X509Certificate } from "node:crypto";
import { formatSerial } from "@damselfly/transport";

/** When one certificate of a PEM text runs out. */
export interface CertificateExpiry {
  /** As `formatSerial` writes it. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly validFromMs: number;
  readonly validToMs: number;
}

/** Of every certificate in a PEM text that can be read. */
export function expiriesOf(pem: string): CertificateExpiry[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    const { serialNumber, validFrom, validTo } = new X509Certificate(block);
    return {
      serial: formatSerial(serialNumber),
      validFromMs: Date.parse(validFrom),
      validToMs: Date.parse(validTo),
    };
  });
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const WARNING_DAYS = 30;

/** How much is left when it is time to say so: thirty days, of what is good for less than ninety a third. Milliseconds. */
export function warningTimeOf({ validFromMs, validToMs }: CertificateExpiry): number {
  return Math.min(WARNING_DAYS * DAY_MS, (validToMs - validFromMs) / 3);
}

/** How long to wait before it is said again: a day, in the last one an hour. Milliseconds. */
export function repeatTimeOf(leftMs: number): number {
  return leftMs < DAY_MS ? HOUR_MS : DAY_MS;
}

/** `3 days`, `5 hours`, `20 minutes`: what is left, or how long ago, rounded down. */
export function formatSpan(ms: number): string {
  const span = Math.abs(ms);
  const [unit, name]: [number, string] =
    span >= 2 * DAY_MS
      ? [DAY_MS, "day"]
      : span >= 2 * HOUR_MS
        ? [HOUR_MS, "hour"]
        : [60_000, "minute"];
  const count = Math.floor(span / unit);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
