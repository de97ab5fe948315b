/** As Dragonfly's daemons: no waiting for fuller packets, and a peer that vanished is noticed. */
export const SOCKET_OPTIONS = {
  noDelay: true,
  keepAlive: true,
  /** Silence before the first probe, in milliseconds. The system's own rhythm follows: Node has no say in it. */
  keepAliveInitialDelay: 5_000,
} as const;

/** A connection that waits for a request is closed after this, in milliseconds: Dragonfly's daemons do, and so expect it. */
export const IDLE_MS = 30_000;
