import { X509Certificate } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createTestAuthority } from "../testing.ts";
import { AdmittedPeers } from "./admitted-peers.ts";
import { expiryOf } from "./peer-trust.ts";
import { type TlsIdentity } from "./tls-identity.ts";
import { TlsStore } from "./tls-source.ts";

const authority = await createTestAuthority();
const [ours, one, two] = await Promise.all([
  authority.issue(),
  authority.issue(),
  authority.issue(),
]);

let store: TlsStore;
let nowMs: number;
let distrusted: string[];
let peers: AdmittedPeers<string>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  store = new TlsStore(ours);
  nowMs = Date.now();
  distrusted = [];
  peers = new AdmittedPeers({
    tls: store,
    isDialled: false,
    now: () => nowMs,
    sweepMs: 1_000,
    onDistrusted: (name, { fault }) => distrusted.push(`${name} ${fault}`),
  });
});
afterEach(() => {
  peers[Symbol.dispose]();
  vi.useRealTimers();
});

const IN_FULL = { isResumed: false };
const leafOf = ({ cert }: TlsIdentity): Uint8Array[] => [new X509Certificate(cert).raw];
const serialOf = ({ cert }: TlsIdentity): string => new X509Certificate(cert).serialNumber;

describe("AdmittedPeers", () => {
  it("gives up at once whose certificate becomes revoked, and nobody else", () => {
    expect(peers.admit("one", leafOf(one), IN_FULL)).toBeUndefined();
    expect(peers.admit("two", leafOf(two), IN_FULL)).toBeUndefined();
    store.update({ ...ours, revoked: [serialOf(one)] });
    expect(distrusted).toEqual(["one revoked"]);
    expect(peers.size).toBe(1);
    expect(peers.admit("one again", leafOf(one), IN_FULL)).toMatchObject({ fault: "revoked" });
    store.update({ ...ours, revoked: [] });
    expect(peers.admit("one forgiven", leafOf(one), IN_FULL)).toBeUndefined();
  });

  it("says nothing of one that was released", () => {
    peers.admit("one", leafOf(one), IN_FULL);
    peers.release("one");
    store.update({ ...ours, revoked: [serialOf(one)] });
    expect(distrusted).toEqual([]);
  });

  it("gives up whose certificate runs out, within the time of a sweep", () => {
    peers.admit("one", leafOf(one), IN_FULL);
    nowMs = expiryOf(leafOf(one));
    vi.advanceTimersByTime(1_000);
    expect(distrusted).toEqual([]);
    nowMs += 1;
    vi.advanceTimersByTime(1_000);
    expect(distrusted).toEqual(["one expired"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gives up whose authority is not trusted any more, and keeps the others", async () => {
    const next = await createTestAuthority();
    const three = await next.issue();
    store.update({ ...ours, caCert: `${authority.caCert}\n${next.caCert}` });
    expect(peers.admit("one", leafOf(one), IN_FULL)).toBeUndefined();
    expect(peers.admit("three", leafOf(three), IN_FULL)).toBeUndefined();
    store.update({ ...ours, caCert: next.caCert });
    expect(distrusted).toEqual(["one unknown authority"]);
    expect(peers.size).toBe(1);
  });

  it("does not take in whose handshake began when another authority was trusted", async () => {
    const next = await createTestAuthority();
    store.update({ ...ours, caCert: next.caCert });
    expect(peers.admit("one", leafOf(one), IN_FULL)).toMatchObject({
      fault: "unknown authority",
    });
  });

  it("does not take in who resumes a session from before a change, and knows no more than the leaf", () => {
    const options = { isResumed: true, isOutdated: true };
    expect(peers.admit("one", leafOf(one), options)).toMatchObject({ fault: "unknown authority" });
    expect(peers.size).toBe(0);
    expect(peers.admit("one", leafOf(one), { ...options, isResumed: false })).toBeUndefined();
    expect(peers.admit("one", leafOf(one), { ...options, isOutdated: false })).toBeUndefined();
  });

  it("keeps what runs when only our own certificate changes", () => {
    peers.admit("one", leafOf(one), IN_FULL);
    store.update({ ...two });
    expect(distrusted).toEqual([]);
    expect(peers.size).toBe(1);
  });

  it("looks after nobody once it is disposed of", () => {
    peers.admit("one", leafOf(one), IN_FULL);
    peers[Symbol.dispose]();
    store.update({ ...ours, revoked: [serialOf(one)] });
    expect(distrusted).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
