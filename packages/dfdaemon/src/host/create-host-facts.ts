import type { Config } from "../config/config.ts";
import { formatHostId } from "../identity/host-id.ts";
import { VERSION } from "../version.ts";
import type { HostFacts } from "./describe-host.ts";
import { findLinkSpeed } from "./link-speed.ts";

/** Who this host is, as its settings and its network interface have it. Its port is 0 until its server listens; nobody is told before. */
export async function createHostFacts(
  config: Config,
  options: {
    /** Where others reach it. */
    readonly ip: string;
    /** What it is called in a cluster's tools; by default its hostname. */
    readonly instanceName: string | undefined;
    /** Of content, in bytes a second; infinite where there is none. */
    readonly limits: { readonly downloadRate: number; readonly uploadRate: number };
  },
): Promise<HostFacts & { port: number }> {
  const { ip, instanceName, limits } = options;
  const { hostname, idc, location, schedulerClusterID: schedulerClusterId } = config.host;
  const seed = config.seedPeer.enable;
  const linkBitsPerSecond = await findLinkSpeed(ip);
  return {
    id: formatHostId({ ip, hostname, seed }),
    hostname,
    ip,
    port: 0,
    seed,
    idc,
    location,
    schedulerClusterId,
    disableShared: config.upload.disableShared,
    storageDirectory: config.storage.dir,
    name: instanceName ?? hostname,
    // Children of Dragonfly's choose parents by it.
    maxRxBitsPerSecond: Math.min(linkBitsPerSecond, 8 * limits.downloadRate),
    maxTxBitsPerSecond: Math.min(linkBitsPerSecond, 8 * limits.uploadRate),
    version: VERSION,
  };
}
