import { createIdentity } from "@damselfly/quinn";
import { expect, it, vi } from "vitest";
import { KnownPeers, readPeerKey } from "./known-peers.ts";

it("KnownPeers lets a key in while a stream speaks for it, and for a while afterwards", () => {
  vi.useFakeTimers();
  try {
    const peers = new KnownPeers({ graceMs: 100 });
    const { publicKey, peerKey } = createIdentity();
    const releases = [peers.admit(publicKey), peers.admit(publicKey)];
    releases[0]?.();
    releases[0]?.();
    vi.advanceTimersByTime(1_000);
    expect(peers.has(peerKey)).toBe(true);
    releases[1]?.();
    vi.advanceTimersByTime(99);
    expect(peers.has(peerKey)).toBe(true);
    vi.advanceTimersByTime(1);
    expect([peers.has(peerKey), peers.count]).toEqual([false, 0]);
  } finally {
    vi.useRealTimers();
  }
});

it("KnownPeers takes no more than it may, and nothing that is no key", () => {
  const peers = new KnownPeers({ countMax: 2 });
  const identities = [createIdentity(), createIdentity(), createIdentity()];
  for (const { publicKey } of identities) peers.admit(publicKey);
  expect(identities.map(({ peerKey }) => peers.has(peerKey))).toEqual([true, true, false]);
  peers.admit(Buffer.from("key"))();
  expect(peers.count).toBe(2);
  expect(readPeerKey(new Uint8Array(0))).toBeUndefined();
});
