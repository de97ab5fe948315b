import { loadTlsIdentity, type TlsPaths } from "@damselfly/settings";
import type { TlsIdentity } from "@damselfly/transport";
import type { Config } from "./config.ts";

/** Who this node is, to whom; undefined: plain. */
export interface Identities {
  /** To those who dial it. */
  readonly server: TlsIdentity | undefined;
  /** To the peers it dials. */
  readonly client: TlsIdentity | undefined;
  /** To the schedulers it dials. */
  readonly scheduler: TlsIdentity | undefined;
  /** To the manager it dials. */
  readonly manager: TlsIdentity | undefined;
}

/**
 * Reads the certificates: those of `security`, overridden by Dragonfly's `upload.server`, `upload.client` and `scheduler`. With
 * `security.plainPeers` the scheduler is Dragonfly's and spoken to plain, unless its own section has certificates; a manager always is.
 *
 * @throws {SettingsError} `ERR_SETTINGS_TLS` if any of the sections is half given or its files do not fit
 */
export async function loadIdentities(
  config: Pick<Config, "security" | "upload" | "scheduler" | "manager">,
): Promise<Identities> {
  const { security, upload, scheduler, manager } = config;
  const common = await load("security", security);
  return {
    server: (await load("upload.server", upload.server)) ?? common,
    client: (await load("upload.client", upload.client)) ?? common,
    scheduler: (await load("scheduler", scheduler)) ?? (security.plainPeers ? undefined : common),
    manager: await load("manager", manager),
  };
}

async function load(name: string, paths: TlsPaths): Promise<TlsIdentity | undefined> {
  return await loadTlsIdentity(paths, { name });
}
