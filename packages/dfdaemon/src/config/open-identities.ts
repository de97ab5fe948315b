import {
  openTlsFiles,
  type TlsFiles,
  type TlsFilesLogger,
  type TlsSection,
} from "@damselfly/settings";
import type { TlsSource } from "@damselfly/transport";
import type { Config } from "./config.ts";

/** Who this node is, to whom; undefined: plain. Each changes when its files do. */
export interface Identities extends AsyncDisposable {
  /** To those who dial it. */
  readonly server: TlsSource | undefined;
  /** To the peers it dials. */
  readonly client: TlsSource | undefined;
  /** To the schedulers it dials. */
  readonly scheduler: TlsSource | undefined;
  /** To the manager it dials. */
  readonly manager: TlsSource | undefined;
  /** What they come from. */
  readonly files: TlsFiles;
}

/**
 * Reads the certificates, and goes on looking at them: those of `security`, overridden by Dragonfly's `upload.server`, `upload.client`
 * and `scheduler`. With `security.plainPeers` the scheduler is Dragonfly's and spoken to plain, unless its own section has certificates;
 * a manager always is.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` if any of the sections is half given or its files do not fit
 */
export async function openIdentities(
  config: Pick<Config, "security" | "upload" | "scheduler" | "manager">,
  logger: TlsFilesLogger,
): Promise<Identities> {
  const { security } = config;
  const files = await openTlsFiles({
    sections: sectionsOf(config),
    revoked: { path: security.revoked, setting: "security.revoked" },
    intervalMs: security.reloadInterval,
    logger,
  });
  const common = files.source("security");
  return {
    server: files.source("upload.server") ?? common,
    client: files.source("upload.client") ?? common,
    scheduler: files.source("scheduler") ?? (security.plainPeers ? undefined : common),
    manager: files.source("manager"),
    files,
    [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
  };
}

function sectionsOf({
  security,
  upload,
  scheduler,
  manager,
}: Parameters<typeof openIdentities>[0]): TlsSection[] {
  return [
    { name: "security", paths: security, uses: ["server", "client"] },
    { name: "upload.server", paths: upload.server, uses: ["server"] },
    { name: "upload.client", paths: upload.client, uses: ["client"] },
    {
      name: "scheduler",
      paths: scheduler,
      // The embedded one shows it, too.
      uses: scheduler.embedded === true ? ["server", "client"] : ["client"],
    },
    { name: "manager", paths: manager, uses: ["client"] },
  ];
}
