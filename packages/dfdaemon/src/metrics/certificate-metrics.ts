import type { TlsFiles } from "@damselfly/settings";
import { Counter, Gauge, type Registry } from "prom-client";

/** Registers what is known of our own certificates, and of others' that are revoked. Read when somebody asks; nothing is counted here. */
export function registerCertificateMetrics(
  registry: Registry,
  files: Pick<TlsFiles, "certificates" | "revokedCount" | "reloads">,
): void {
  const registers = [registry];
  const expiry = new Gauge({
    name: "damselfly_certificate_expiry_timestamp_seconds",
    help: "When a certificate in use runs out, in seconds since 1970, by the setting that names its file",
    labelNames: ["setting", "serial"],
    registers,
    collect(): void {
      expiry.reset();
      for (const { setting, serial, validToMs } of files.certificates)
        expiry.set({ setting, serial }, validToMs / 1000);
    },
  });
  const revoked = new Gauge({
    name: "damselfly_revoked_certificates",
    help: "Serial numbers on the list of revoked certificates (security.revoked)",
    registers,
    collect(): void {
      revoked.set(files.revokedCount);
    },
  });
  const reloads = new Counter({
    name: "damselfly_certificate_reloads_total",
    help: "Times that the files of certificates, or the list of revoked ones, were found changed",
    labelNames: ["result"],
    registers,
    collect(): void {
      reloads.reset();
      reloads.inc({ result: "taken" }, files.reloads.taken);
      reloads.inc({ result: "refused" }, files.reloads.refused);
    },
  });
}
