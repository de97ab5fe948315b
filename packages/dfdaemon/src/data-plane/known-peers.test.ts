import { X509Certificate } from "node:crypto";
import { createIdentity } from "@damselfly/quinn";
import { type TlsIdentity, TlsStore } from "@damselfly/transport";
import { createTestAuthority } from "@damselfly/transport/testing";
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

const leafOf = ({ cert }: TlsIdentity): Uint8Array[] => [new X509Certificate(cert).raw];

it("KnownPeers lets a key in for as long as the certificate is trusted that was shown with it", async () => {
  const authority = await createTestAuthority();
  const [ours, child, renewed] = await Promise.all([
    authority.issue(),
    authority.issue(),
    authority.issue(),
  ]);
  const tls = new TlsStore(ours);
  let nowMs = Date.now();
  const peers = new KnownPeers({ tls, now: () => nowMs });
  const { publicKey, peerKey } = createIdentity();
  peers.admit(publicKey);
  expect(peers.has(peerKey)).toBe(false);
  peers.admit(publicKey, leafOf(child));
  expect(peers.has(peerKey)).toBe(true);

  tls.update({ ...ours, revoked: [new X509Certificate(child.cert).serialNumber] });
  expect(peers.has(peerKey)).toBe(false);
  peers.admit(publicKey, leafOf(renewed));
  expect(peers.has(peerKey)).toBe(true);

  nowMs += 2 * 3_600_000;
  expect(peers.has(peerKey)).toBe(false);
  nowMs -= 2 * 3_600_000;
  const next = await createTestAuthority();
  tls.update({ ...ours, caCert: `${ours.caCert}\n${next.caCert}` });
  expect(peers.has(peerKey)).toBe(true);
  tls.update({ ...ours, caCert: next.caCert });
  expect(peers.has(peerKey)).toBe(false);
});

it("KnownPeers takes no certificate for a client's that is not one", async () => {
  const authority = await createTestAuthority();
  const peers = new KnownPeers({ tls: await authority.issue() });
  const { publicKey, peerKey } = createIdentity();
  peers.admit(publicKey, leafOf(await authority.issue({ usages: ["server"] })));
  expect(peers.has(peerKey)).toBe(false);
});

it("KnownPeers remembers no more of many streams under one certificate than of one", () => {
  vi.useFakeTimers();
  try {
    const peers = new KnownPeers({ graceMs: 100 });
    const { publicKey, peerKey } = createIdentity();
    const releases = Array.from({ length: 1_000 }, () => peers.admit(publicKey));
    for (const release of releases) release();
    vi.advanceTimersByTime(99);
    expect([peers.has(peerKey), peers.count]).toEqual([true, 1]);
    vi.advanceTimersByTime(1);
    expect([peers.has(peerKey), peers.count]).toEqual([false, 0]);
  } finally {
    vi.useRealTimers();
  }
});

it("KnownPeers keeps one timer for all streams that have ended, and none when nothing waits for it", () => {
  vi.useFakeTimers();
  try {
    const peers = new KnownPeers({ graceMs: 100 });
    const [one, two] = [createIdentity(), createIdentity()];
    for (let count = 0; count < 1_000; count += 1) peers.admit(one.publicKey)();
    vi.advanceTimersByTime(60);
    peers.admit(two.publicKey)();
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(40);
    expect([peers.has(one.peerKey), peers.has(two.peerKey)]).toEqual([false, true]);
    vi.advanceTimersByTime(59);
    const release = peers.admit(two.publicKey);
    vi.advanceTimersByTime(1_000);
    expect([peers.has(two.peerKey), vi.getTimerCount()]).toEqual([true, 0]);
    release();
    vi.advanceTimersByTime(99);
    expect(peers.has(two.peerKey)).toBe(true);
    vi.advanceTimersByTime(1);
    expect([peers.count, vi.getTimerCount()]).toEqual([0, 0]);
  } finally {
    vi.useRealTimers();
  }
});

it("KnownPeers gives one certificate half of the places, and has them back when they are free", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    const authority = await createTestAuthority();
    const [ours, greedy, other] = await Promise.all([
      authority.issue(),
      authority.issue(),
      authority.issue(),
    ]);
    const peers = new KnownPeers({ tls: ours, countMax: 4, graceMs: 100 });
    const keys = Array.from({ length: 5 }, () => createIdentity());
    const known = (): boolean[] => keys.map(({ peerKey }) => peers.has(peerKey));
    const [leave] = keys.slice(0, 3).map((key) => peers.admit(key.publicKey, leafOf(greedy)));
    expect(known()).toEqual([true, true, false, false, false]);
    for (const key of keys.slice(3)) peers.admit(key.publicKey, leafOf(other));
    expect(known()).toEqual([true, true, false, true, true]);
    leave?.();
    vi.advanceTimersByTime(100);
    peers.admit(keys[2]!.publicKey, leafOf(greedy));
    expect(known()).toEqual([false, true, true, true, true]);
  } finally {
    vi.useRealTimers();
  }
});
