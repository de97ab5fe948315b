import type { PeerExtension__Output, SyncPiecesResponse__Output } from "@damselfly/rpc";
import { createIdentity } from "@damselfly/quinn";
import { describe, expect, it } from "vitest";
import type { CandidateParent } from "../scheduling/scheduler-link.ts";
import { addressOf, type AddressOptions } from "./parent-address.ts";

const PARENT: CandidateParent = {
  peerId: "peer",
  hostId: "10.0.0.9-nine",
  hostname: "nine",
  ip: "10.0.0.9",
  port: 4000,
  digests: new Map(),
};
const SECURE: AddressOptions = {
  policy: { tls: true, plainPeers: false },
  isSecure: true,
  contentVersion: "v1",
  sourceDigest: "",
  quinn: true,
};

function response(fields: Partial<SyncPiecesResponse__Output> = {}): SyncPiecesResponse__Output {
  return { number: 0, offset: 0, length: 4, ip: "10.0.0.9", extension: null, ...fields };
}

function extension(fields: Partial<PeerExtension__Output> = {}): PeerExtension__Output {
  return {
    version: 1,
    transports: [],
    features: [],
    quinnKey: Buffer.alloc(0),
    contentVersion: "v1",
    leaving: false,
    sourceDigest: "",
    ...fields,
  };
}

function offer(protocol: string, ...ports: number[]): PeerExtension__Output["transports"][number] {
  return { protocol, ports, tls: true };
}

describe("addressOf", () => {
  it("takes the transports that our own kind offers, and leaves out ports that are none", () => {
    const transports = [
      offer("quic", 4006, 0, 70_000, 4016),
      offer("grpc", 4007),
      offer("tcp", 65_536),
      offer("pigeon", 1),
    ];
    expect(addressOf(PARENT, response({ extension: extension({ transports }) }), SECURE)).toEqual({
      hostId: "10.0.0.9-nine",
      hostname: "nine",
      ip: "10.0.0.9",
      ports: { quic: [4006, 4016], grpc: 4007 },
    });
  });

  it("refuses a copy that was read elsewhere under the same task id, where both sides say where", () => {
    const from = (ours: string, theirs: string): unknown =>
      addressOf(PARENT, response({ extension: extension({ sourceDigest: theirs }) }), {
        ...SECURE,
        sourceDigest: ours,
      });
    expect(() => from("aa", "bb")).toThrow("read from another URL under the same task id");
    for (const [ours, theirs] of [
      ["aa", "aa"],
      ["", "bb"],
      ["aa", ""],
    ] as const)
      expect(from(ours, theirs)).toMatchObject({ hostId: PARENT.hostId });
  });

  it("takes a quinn port only with its key, and only where it may be used", () => {
    const { publicKey } = createIdentity();
    const transports = [offer("quinn", 4008)];
    const told = response({
      extension: extension({ transports, quinnKey: Buffer.from(publicKey) }),
    });
    expect(addressOf(PARENT, told, SECURE)).toMatchObject({ quinn: { port: 4008 } });
    expect(addressOf(PARENT, told, { ...SECURE, quinn: false })).not.toHaveProperty("quinn");
    const keyless = response({ extension: extension({ transports }) });
    expect(addressOf(PARENT, keyless, SECURE)).not.toHaveProperty("quinn");
  });

  it("falls back on the scheduler's word for the address, and refuses what is none", () => {
    const told = response({ ip: "", extension: extension() });
    expect(addressOf(PARENT, told, SECURE)).toMatchObject({ ip: "10.0.0.9" });
    expect(() => addressOf(PARENT, response({ ip: "nine.example" }), SECURE)).toThrow(
      "Cannot use parent 10.0.0.9-nine: its address is 'nine.example', expected an IP",
    );
  });

  it("refuses a TCP port of Dragonfly's that is none", () => {
    const policy = { tls: false, plainPeers: true };
    const options = { ...SECURE, policy, isSecure: false };
    expect(() => addressOf(PARENT, response({ tcpPort: -1 }), options)).toThrow(
      "its TCP port is -1",
    );
  });

  it("takes nothing from our own kind without a certificate but plain TCP", () => {
    const options = { ...SECURE, policy: { tls: true, plainPeers: true }, isSecure: false };
    const both = response({
      extension: extension({ transports: [offer("grpc", 1), offer("tcp", 2)] }),
    });
    expect(addressOf(PARENT, both, options)).toMatchObject({ ports: { tcp: 2 }, plain: true });
    const none = response({ extension: extension({ transports: [offer("grpc", 1)] }) });
    expect(() => addressOf(PARENT, none, options)).toThrow(
      "it shows no certificate and serves no pieces over TCP",
    );
  });
});
