/** The ways in which a daemon of ours talks plain to Dragonfly's: a title, and its options. */
export const OURS = [
  ["without certificates", {}],
  ["with certificates and plainPeers", { tls: true }],
  ["with insecure", { settings: { "security.insecure": true } }],
] as const;
