import { randomUUID } from "node:crypto";
import { SEED_SUFFIX, type HostName } from "./host-id.ts";

/**
 * Dragonfly's peer id: `{ip}-{hostname}-{uuid v4}`, with `-seed` behind it for a seed. Another one for every part in a task.
 * Source: dragonflyoss/client, id_generator, `peer_id`.
 */
export function formatPeerId(
  { ip, hostname, seed }: HostName,
  uuid: string = randomUUID(),
): string {
  return `${ip}-${hostname}-${uuid}${seed ? SEED_SUFFIX : ""}`;
}
