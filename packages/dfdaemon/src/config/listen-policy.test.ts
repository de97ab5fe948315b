import { describe, expect, it } from "vitest";
import type { Config } from "./config.ts";
import { configSchema } from "./config-schema.ts";
import { listenPolicy } from "./listen-policy.ts";

const tls = { caCert: "ca", cert: "cert", key: "key" };

function config(given: object = {}): Config {
  return configSchema.parse({ host: { ip: "10.0.0.7" }, ...given });
}

describe("listenPolicy", () => {
  it("serves this machine only without certificates, and says how to change that", () => {
    const policy = listenPolicy(config({ upload: { server: { ip: "10.0.0.7" } } }), undefined);
    expect(policy).toMatchObject({
      bindIp: "127.0.0.1",
      pieceBindIp: "127.0.0.1",
      announceIp: "127.0.0.1",
      tls: undefined,
      plainPeers: true,
    });
    expect(policy.warnings).toEqual([
      expect.stringMatching(/only this machine.*security\.insecure/),
    ]);
  });

  it.each([
    [{ scheduler: { addrs: ["10.0.0.1:8002"] } }, true],
    [{ scheduler: { addrs: ["127.0.0.1:8002", "scheduler.example:8002"] } }, true],
    [{ manager: { addr: "http://10.0.0.1:65003" } }, true],
    [{ dynconfig: { path: "/somebody/named/it.yaml" } }, true],
    [{}, false],
    [{ scheduler: { addrs: ["127.0.0.1:8002", "[::1]:8003", "localhost:8004"] } }, false],
  ])("of %j, knows whether others would need this node: %s", (given, isClustered) => {
    const [warning] = listenPolicy(config(given), undefined).warnings;
    expect(warning?.includes("useless to its cluster")).toBe(isClustered);
    expect(warning).toContain("security.insecure");
  });

  it("takes the loopback address that was asked for", () => {
    const policy = listenPolicy(config({ host: { ip: "127.0.0.9" } }), undefined);
    expect(policy).toMatchObject({ bindIp: "127.0.0.9", announceIp: "127.0.0.9" });
    const v6 = listenPolicy(config({ upload: { server: { ip: "::1" } } }), undefined);
    expect(v6).toMatchObject({ bindIp: "::1", pieceBindIp: "::1", announceIp: "::1" });
  });

  it("serves everybody when told to be insecure, and says so at every start", () => {
    const policy = listenPolicy(config({ security: { insecure: true } }), undefined);
    expect(policy).toMatchObject({
      bindIp: "0.0.0.0",
      pieceBindIp: "0.0.0.0",
      announceIp: "10.0.0.7",
      plainPeers: true,
    });
    expect(policy.warnings).toEqual([expect.stringMatching(/without TLS and unchecked/)]);
  });

  it("serves whoever has a certificate, and nobody plain", () => {
    expect(listenPolicy(config(), tls)).toEqual({
      bindIp: "0.0.0.0",
      pieceBindIp: "0.0.0.0",
      announceIp: "10.0.0.7",
      tls,
      plainPeers: false,
      warnings: [],
    });
  });

  it("serves plain peers beside certificates only when told to", () => {
    const policy = listenPolicy(config({ security: { plainPeers: true, insecure: true } }), tls);
    expect(policy).toMatchObject({ plainPeers: true, tls });
    expect(policy.warnings).toEqual([
      expect.stringContaining("security.insecure has no effect"),
      expect.stringContaining("security.plainPeers"),
    ]);
  });

  it("binds to all IPv6 addresses when the host announces one", () => {
    const policy = listenPolicy(config({ host: { ip: "2001:db8::7" } }), tls);
    expect(policy).toMatchObject({ bindIp: "::", pieceBindIp: "::", announceIp: "2001:db8::7" });
  });
});
