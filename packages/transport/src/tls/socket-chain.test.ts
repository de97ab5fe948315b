import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { createTestAuthority } from "../testing.ts";
import { type PeerFault, PeerTrust } from "./peer-trust.ts";
import { chainOf } from "./socket-chain.ts";

const authority = await createTestAuthority();
const intermediate = await authority.createIntermediate();
const { cert } = await intermediate.issue();
const [leaf, issuer] = (cert.match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----/g) ?? []).map(
  (block) => new X509Certificate(block).raw,
);

type Shown = Pick<TLSSocket, "getPeerX509Certificate">;

/** Links certificates as Node does: in the order in which they were shown, whoever issued them. */
function show(chain: readonly Uint8Array[]): Shown {
  const [first] = chain.toReversed().reduce<readonly X509Certificate[]>((above, der) => {
    const certificate = new X509Certificate(der);
    Object.defineProperty(certificate, "issuerCertificate", { value: above[0] });
    return [certificate];
  }, []);
  return { getPeerX509Certificate: () => first };
}

function faultOf(shown: Shown): PeerFault | undefined {
  const revoked = [new X509Certificate(issuer!).serialNumber];
  const trust = new PeerTrust({ caCert: authority.caCert, revoked });
  return trust.refusalOf(chainOf(shown), { isDialled: false, nowMs: Date.now() })?.fault;
}

/** The leaf, `count` others that have nothing to do with it, and last the revoked one that vouches for it. */
const hide = (count: number): Shown =>
  show([leaf!, ...Array.from({ length: count }, () => leaf!), issuer!]);

describe("chainOf", () => {
  it("gives what was shown, leaf first, and nothing where nothing was", () => {
    expect(chainOf(show([leaf!, issuer!]))).toEqual([leaf, issuer]);
    expect(chainOf(show([]))).toEqual([]);
  });

  it("does not have a revoked authority hidden behind more certificates than it reads", () => {
    expect([0, 8, 9, 10, 100].map((count) => faultOf(hide(count)))).toEqual([
      "revoked",
      "revoked",
      "unreadable",
      "unreadable",
      "unreadable",
    ]);
  });

  it("takes no part of a chain that is too long for a certificate", () => {
    expect(chainOf(hide(9)).map(({ byteLength }) => byteLength)).toEqual([0]);
  });
});
