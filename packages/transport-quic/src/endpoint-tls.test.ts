import { X509Certificate } from "node:crypto";
import type { QuicEndpoint } from "@damselfly/quic";
import { TlsStore } from "@damselfly/transport";
import { createTestAuthority } from "@damselfly/transport/testing";
import { describe, expect, it, vi } from "vitest";
import { EndpointTls } from "./endpoint-tls.ts";

describe("EndpointTls", () => {
  it("keeps out who has been revoked together with a new key that the endpoint cannot take", async () => {
    const authority = await createTestAuthority();
    const own = await authority.issue({ dnsNames: ["d7y"] });
    const other = await authority.issue({ dnsNames: ["d7y"] });
    const certificate = new X509Certificate(other.cert);
    const peer = { certificates: [certificate.raw], isDialled: false, isRunning: false } as const;
    const store = new TlsStore(own);
    const tls = new EndpointTls(store, { hasKeys: false, logger: undefined });
    const given = tls.current;
    if (given === "insecure") throw new Error("expected an identity");
    const refuse = vi.fn(() => {
      throw new Error("this key is not mine");
    });
    const recheckPeers = vi.fn();
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that is used of it
    const unfollow = tls.follow({ useTls: refuse, recheckPeers } as unknown as QuicEndpoint);
    expect(given.checkPeer?.(peer)).toBeUndefined();
    const revoked = [certificate.serialNumber];
    store.update({ ...(await authority.issue({ dnsNames: ["d7y"] })), revoked });
    expect(refuse).toHaveBeenCalledOnce();
    expect(recheckPeers).toHaveBeenCalledOnce();
    expect(given.checkPeer?.(peer)).toMatchObject({ alert: 44 });
    unfollow();
  });
});
