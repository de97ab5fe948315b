/** What tells one daemon from another in the cluster. */
export interface HostName {
  /** Where others reach it: an IP literal. */
  readonly ip: string;
  readonly hostname: string;
  /** A seed has an id of its own, so a seed and a peer can share a machine. */
  readonly seed: boolean;
}

/** Dragonfly's host id: `{ip}-{hostname}`, with `-seed` behind it for a seed. Source: dragonflyoss/client, id_generator, `host_id`. */
export function formatHostId({ ip, hostname, seed }: HostName): string {
  return `${ip}-${hostname}${seed ? SEED_SUFFIX : ""}`;
}

/** Ends host and peer ids of seeds. */
export const SEED_SUFFIX = "-seed";
