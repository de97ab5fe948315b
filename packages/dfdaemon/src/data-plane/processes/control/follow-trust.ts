import { type Tls, toTlsSource } from "@damselfly/transport";
import type { KnownPeers } from "../../known-peers.ts";
import type { ControlMethods, WorkerIdentities, WorkerMethods } from "../protocol.ts";
import type { Link } from "../link/link.ts";

/** How often keys are looked at again whose certificates may have expired. Milliseconds. */
const REVIEW_MS = 15_000;

/** What can be told something. */
export type TrustTaker = Pick<Link<WorkerMethods, ControlMethods>, "note">;

export interface FollowTrustOptions {
  readonly serverTls: Tls | undefined;
  readonly clientTls: Tls | undefined;
  /** Its changes are this function's to hear of. */
  readonly peers: KnownPeers;
  /** The processes of that moment, with those that have been told how to start and do not serve yet. */
  readonly takers: () => Iterable<TrustTaker>;
}

/**
 * Tells processes that move content who they are, who is revoked, and whose keys are good, each time that one of it changes. What they
 * are told at their start is `identitiesOf`.
 *
 * @returns what ends it
 */
export function followTrust(options: FollowTrustOptions): () => void {
  const { serverTls, clientTls, peers, takers } = options;
  peers.onChange = (peerKey, isKnown) => {
    for (const taker of takers()) taker.note(isKnown ? "admitPeer" : "dismissPeer", { peerKey });
  };
  const tell = (): void => {
    // Keys first: with an identity those who hold them are looked at again.
    peers.review();
    for (const taker of takers()) taker.note("useIdentities", identitiesOf(options));
  };
  const sources = new Set([serverTls, clientTls]);
  const endings = [...sources].map((tls) => tls && toTlsSource(tls).onChange(tell));
  const timer = setInterval(() => peers.review(), REVIEW_MS).unref();
  return () => {
    clearInterval(timer);
    for (const end of endings) end?.();
    peers.onChange = undefined;
  };
}

export function identitiesOf({
  serverTls,
  clientTls,
}: Pick<FollowTrustOptions, "serverTls" | "clientTls">): WorkerIdentities {
  return {
    serverTls: serverTls && toTlsSource(serverTls).current,
    clientTls: clientTls && toTlsSource(clientTls).current,
  };
}
