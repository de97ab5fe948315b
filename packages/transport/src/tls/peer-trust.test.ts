import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createTestAuthority, issueSelfSigned, type TestNodeOptions } from "../testing.ts";
import {
  type CertificateChain,
  expiryOf,
  namesOf,
  type PeerExpectation,
  PeerTrust,
} from "./peer-trust.ts";
import type { TlsIdentity } from "./tls-identity.ts";

const HOUR_MS = 3_600_000;
const authority = await createTestAuthority();
const node = await authority.issue({ dnsNames: ["d7y", "n1"] });

function chainOf({ cert }: TlsIdentity): CertificateChain {
  const blocks = cert.match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).raw);
}

function serialOf({ cert }: TlsIdentity): string {
  return new X509Certificate(cert).serialNumber;
}

function judge(
  chain: CertificateChain,
  {
    revoked,
    ...expected
  }: Partial<PeerExpectation> & { readonly revoked?: readonly string[] } = {},
): string | undefined {
  const trust = new PeerTrust({ caCert: authority.caCert, revoked });
  const refusal = trust.refusalOf(chain, { isDialled: true, nowMs: Date.now(), ...expected });
  return refusal && `${refusal.fault}: ${refusal.reason}`;
}

async function judgeNode(
  options: TestNodeOptions,
  expected?: Partial<PeerExpectation>,
): Promise<string | undefined> {
  return judge(chainOf(await authority.issue(options)), expected);
}

describe("PeerTrust", () => {
  it("has nothing against a node's certificate, on either side", () => {
    expect(judge(chainOf(node), { names: ["n1"] })).toBeUndefined();
    expect(judge(chainOf(node), { names: ["d7y"], isDialled: false })).toBeUndefined();
  });

  it("refuses a serial number that is revoked, however it is written", () => {
    const serial = serialOf(node);
    const colons = serial.toLowerCase().replaceAll(/(..)(?=.)/g, "$1:");
    for (const revoked of [serial, `00${serial}`, colons]) {
      expect(judge(chainOf(node), { revoked: [revoked] })).toBe(
        `revoked: its certificate (Test node, serial ${serial.replace(/^0/, "")}) is revoked`,
      );
    }
    expect(judge(chainOf(node), { revoked: [`1${serial}`] })).toBeUndefined();
  });

  it("refuses it though the signature was rewritten, by which the fingerprint is another", () => {
    const [der] = chainOf(node);
    const twin = flipSignature(der!);
    expect(twin.fingerprint256).not.toBe(new X509Certificate(der!).fingerprint256);
    expect(twin.verify(new X509Certificate(authority.caCert).publicKey)).toBe(true);
    expect(judge([twin.raw], { revoked: [serialOf(node)] })).toMatch(/^revoked: /);
  });

  it("refuses whom a revoked intermediate vouches for", async () => {
    const intermediate = await authority.createIntermediate();
    const chain = chainOf(await intermediate.issue());
    expect(judge(chain)).toBeUndefined();
    const { serialNumber } = new X509Certificate(chain[1]!);
    expect(judge(chain, { revoked: [serialNumber] })).toMatch(/^revoked: .*Test intermediate/);
  });

  it("refuses what has run out, or is not valid yet, by the clock that it is given", () => {
    const { validFromMs, validToMs } = datesOf(chainOf(node));
    expect(judge(chainOf(node), { nowMs: validToMs })).toBeUndefined();
    expect(judge(chainOf(node), { nowMs: validToMs + 1_000 })).toMatch(/^expired: .* expired on /);
    expect(judge(chainOf(node), { nowMs: validFromMs })).toBeUndefined();
    expect(judge(chainOf(node), { nowMs: validFromMs - 1_000 })).toMatch(/^not yet valid: /);
  });

  it("wants of who is dialled a certificate for servers, of who dials one for clients", async () => {
    expect(await judgeNode({ usages: ["server"] })).toBeUndefined();
    expect(await judgeNode({ usages: ["client"] }, { isDialled: false })).toBeUndefined();
    expect(await judgeNode({ usages: ["server", "client"] })).toBeUndefined();
    expect(await judgeNode({ usages: ["client"] })).toMatch(/^wrong usage: .*serverAuth/);
    expect(await judgeNode({ usages: ["server"] }, { isDialled: false })).toMatch(
      /^wrong usage: .*clientAuth/,
    );
  });

  it("takes only alternative names for names", async () => {
    expect(await judgeNode({ dnsNames: [], ips: [] }, { names: ["Test node"] })).toMatch(
      /^wrong name: .* names nothing, expected Test node/,
    );
    expect(await judgeNode({ dnsNames: ["n1"], ips: [] }, { names: ["n2", "d7y"] })).toMatch(
      /names DNS:n1, expected n2 or d7y/,
    );
    expect(await judgeNode({ dnsNames: ["n1"], ips: ["10.0.0.1"] }, { names: ["10.0.0.1"] })).toBe(
      undefined,
    );
    expect(await judgeNode({ dnsNames: ["10.0.0.1"], ips: [] }, { names: ["10.0.0.1"] })).toMatch(
      /^wrong name: /,
    );
  });

  it("refuses nothing at all, and what is no certificate", () => {
    expect(judge([])).toBe("missing: it shows no certificate");
    expect(judge([new Uint8Array(100)])).toBe("unreadable: its certificate cannot be read");
  });

  it("knows whom its authorities vouch for, over those between", async () => {
    const intermediate = await authority.createIntermediate();
    const lower = chainOf(await (await intermediate.createIntermediate()).issue());
    const trust = new PeerTrust({ caCert: authority.caCert });
    expect(trust.vouchesFor(chainOf(node))).toBe(true);
    expect(lower).toHaveLength(3);
    expect(trust.vouchesFor(lower)).toBe(true);
    expect(trust.vouchesFor(lower.slice(0, 2))).toBe(false);
    expect(trust.vouchesFor([lower[0]!, lower[2]!])).toBe(false);
  });

  it("knows whom they do not vouch for: of the same name, signed by themselves, nobody", async () => {
    const other = await createTestAuthority();
    const trust = new PeerTrust({ caCert: other.caCert });
    expect(trust.vouchesFor(chainOf(node))).toBe(false);
    expect(trust.vouchesFor(chainOf(await issueSelfSigned()))).toBe(false);
    expect(trust.vouchesFor([])).toBe(false);
    expect(trust.vouchesFor([new Uint8Array(8)])).toBe(false);
    const both = new PeerTrust({ caCert: `${other.caCert}\n${authority.caCert}` });
    expect(both.vouchesFor(chainOf(node))).toBe(true);
  });
});

describe("namesOf", () => {
  it("is the hostname alone, where it is known", () => {
    expect(namesOf({ ip: "10.0.0.1", hostname: "n1" })).toEqual(["n1"]);
    expect(namesOf({ ip: "10.0.0.1" })).toEqual(["10.0.0.1", "d7y"]);
  });
});

describe("expiryOf", () => {
  it("is the end of the leaf; long ago for what cannot be read, never for nothing", async () => {
    const validUntil = new Date(Math.floor(Date.now() / 1_000) * 1_000 + HOUR_MS);
    expect(expiryOf(chainOf(await authority.issue({ validUntil })))).toBe(validUntil.getTime());
    expect(expiryOf([new Uint8Array(3)])).toBe(0);
    expect(expiryOf([])).toBe(Number.POSITIVE_INFINITY);
  });
});

function datesOf([leaf]: CertificateChain): { validFromMs: number; validToMs: number } {
  const { validFrom, validTo } = new X509Certificate(leaf!);
  return { validFromMs: Date.parse(validFrom), validToMs: Date.parse(validTo) };
}

/** The order of P-256 (FIPS 186-4, D.1.2.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The same certificate under the other signature that is as good: of s and n - s one is in place of the other. */
function flipSignature(der: Uint8Array): X509Certificate {
  const bytes = Buffer.from(der);
  // The last element is a bit string with a sequence of two integers in it (RFC 3279, section 2.2.3).
  for (let start = bytes.lastIndexOf(0x03); start > 0; start = bytes.lastIndexOf(0x03, start - 1)) {
    const length = bytes[start + 1]!;
    if (start + 2 + length !== bytes.length || bytes[start + 3] !== 0x30) continue;
    const rLength = bytes[start + 6]!;
    const r = bytes.subarray(start + 5, start + 7 + rLength);
    const sAt = start + 7 + rLength;
    const s = BigInt(`0x${bytes.subarray(sAt + 2).toString("hex")}`);
    const flipped = integer(ORDER - s);
    const signature = element(0x30, Buffer.concat([r, flipped]));
    const bits = element(0x03, Buffer.concat([Buffer.from([0]), signature]));
    const header = bytes[1] === 0x82 ? 4 : 3;
    const content = Buffer.concat([bytes.subarray(header, start), bits]);
    return new X509Certificate(element(0x30, content));
  }
  throw new Error("no ECDSA signature at the end");
}

function integer(value: bigint): Buffer {
  const hex = value.toString(16);
  const digits = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  const isNegative = (digits[0]! & 0x80) !== 0;
  return element(0x02, isNegative ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
