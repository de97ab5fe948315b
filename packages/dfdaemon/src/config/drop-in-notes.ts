import type { SettingSource } from "@damselfly/settings";
import type { Config } from "./config.ts";

/**
 * What somebody who starts this daemon on Dragonfly's settings should know, one sentence each: where a key that was left out means
 * something else here, and what of the file's intention is not fulfilled. Empty for settings that were written for Damselfly.
 */
export function dropInNotes(
  config: Config,
  given: {
    readonly sources: ReadonlyMap<string, SettingSource>;
    /** Keys of Dragonfly's without effect were given: the file is one of Dragonfly's. */
    readonly isForeign: boolean;
  },
): string[] {
  const { sources, isForeign } = given;
  const notes: string[] = [];
  if (sources.has("proxy.rules")) {
    notes.push(
      "proxy.rules are given, but there is no proxy: nothing listens on proxy.server.port (4001), and what is pulled through it, " +
        "such as container images, needs another way on this node",
    );
  }
  if (sources.has("download.protocol") && !sources.has("storage.server.protocol")) {
    notes.push(
      `download.protocol is given: pieces are fetched over ${config.storage.server.protocol} wherever that works; ` +
        "set storage.server.protocol to auto to have the best transport chosen for each parent",
    );
  }
  if (!isForeign) return notes;
  if (!sources.has("storage.keep"))
    notes.push(
      "storage.keep is not given: what is stored is kept over restarts; set it to false to start empty each time, as Dragonfly does",
    );
  if (config.gc.policy.diskThreshold > 0)
    notes.push(
      `gc.policy.diskThreshold is given: what is stored takes no more than ${config.gc.policy.diskThreshold} bytes, ` +
        "and a download that does not fit is refused; with Dragonfly the two marks are per cent of it, and nothing is",
    );
  if (!sources.has("download.server.socketMode"))
    notes.push(
      `download.server.socketMode is not given: only this daemon's user and group may ask at ${config.download.server.socketPath} ` +
        "(0660); set it to '0666' to let everybody ask, as Dragonfly does",
    );
  const hasCertificates = [config.security, config.upload.server, config.upload.client].some(
    ({ caCert }) => caCert !== "",
  );
  if (hasCertificates && !config.security.plainPeers)
    notes.push(
      "security.plainPeers is not set: daemons without TLS are neither served nor asked; set it to true while the cluster has any",
    );
  return notes;
}
