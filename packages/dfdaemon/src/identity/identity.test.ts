import { describe, expect, it } from "vitest";
import { credentialsDigest } from "./credentials-digest.ts";
import { DEFAULT_FILTERED_QUERY_PARAMS } from "./default-filtered-query-params.ts";
import { formatHostId } from "./host-id.ts";
import { isCredentialHeader } from "./is-credential-header.ts";
import { findLocalAddress } from "./local-address.ts";
import { formatPeerId } from "./peer-id.ts";

const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";

describe("formatHostId", () => {
  it("joins address and hostname, and marks a seed", () => {
    const host = { ip: "127.0.0.1", hostname: "localhost" };
    expect(formatHostId({ ...host, seed: false })).toBe("127.0.0.1-localhost");
    expect(formatHostId({ ...host, seed: true })).toBe("127.0.0.1-localhost-seed");
  });
});

describe("formatPeerId", () => {
  it("adds a version 4 UUID, another one each time", () => {
    const host = { ip: "10.0.0.1", hostname: "a", seed: false };
    expect(formatPeerId(host)).toMatch(new RegExp(`^10\\.0\\.0\\.1-a-${UUID}$`));
    expect(formatPeerId({ ...host, seed: true })).toMatch(
      new RegExp(`^10\\.0\\.0\\.1-a-${UUID}-seed$`),
    );
    expect(formatPeerId(host)).not.toBe(formatPeerId(host));
    expect(formatPeerId(host, "u")).toBe("10.0.0.1-a-u");
  });
});

describe("credentialsDigest", () => {
  it("is empty when nothing says who is asking", () => {
    expect(credentialsDigest({ accept: "*/*", "user-agent": "x", range: "bytes=0-1" })).toBe("");
  });

  it("differs by credentials and by nothing else", () => {
    const one = credentialsDigest({ Authorization: "Bearer a", Cookie: "b" });
    expect(one).toMatch(/^[0-9a-f]{64}$/);
    expect(credentialsDigest({ cookie: "b", accept: "x", authorization: "Bearer a" })).toBe(one);
    expect(credentialsDigest({ authorization: "Bearer b", cookie: "b" })).not.toBe(one);
    expect(credentialsDigest({ authorization: "Bearer a" })).not.toBe(one);
    expect(credentialsDigest({ authorization: "Bearer ab", cookie: "" })).not.toBe(
      credentialsDigest({ authorization: "Bearer a", cookie: "b" }),
    );
  });
});

describe("isCredentialHeader", () => {
  it.each([
    "authorization",
    "Proxy-Authorization",
    "cookie",
    "x-amz-security-token",
    "X-Auth-Token",
    "PRIVATE-TOKEN",
    "x-api-key",
    "apikey",
    "x-auth",
    "X-JFrog-Art-Api",
    "Ocp-Apim-Subscription-Key",
    "x-functions-key",
    "X-Auth-Key",
    "Cf-Access-Jwt-Assertion",
    "X-Goog-IAP-JWT-Assertion",
    "X-Session-Id",
    "X-Amz-Server-Side-Encryption-Customer-Key",
  ])("takes %s for a credential", (name) => expect(isCredentialHeader(name)).toBe(true));

  it.each(["accept", "if-match", "x-request-id", "user-agent", "content-type"])(
    "takes %s for none",
    (name) => expect(isCredentialHeader(name)).toBe(false),
  );
});

describe("findLocalAddress", () => {
  const loopback = { address: "127.0.0.1", family: "IPv4", internal: true };
  const v4 = { address: "10.0.0.7", family: "IPv4", internal: false };
  const v6 = { address: "2001:db8::7", family: "IPv6", internal: false };
  const linkLocal = [
    { address: "fe80::1", family: "IPv6", internal: false },
    { address: "169.254.1.1", family: "IPv4", internal: false },
  ];

  it("takes the first address that others can reach, of the family asked for", () => {
    const interfaces = { lo: [loopback], eth0: [...linkLocal, v6, v4] };
    expect(findLocalAddress({ interfaces })).toBe("10.0.0.7");
    expect(findLocalAddress({ interfaces, ipv6: true })).toBe("2001:db8::7");
  });

  it("takes the other family rather than none, and loopback rather than nothing", () => {
    expect(findLocalAddress({ interfaces: { eth0: [v6] } })).toBe("2001:db8::7");
    expect(findLocalAddress({ interfaces: { eth0: [v4] }, ipv6: true })).toBe("10.0.0.7");
    expect(
      findLocalAddress({ interfaces: { lo: [loopback], eth0: linkLocal, off: undefined } }),
    ).toBe("127.0.0.1");
  });

  it("asks the system when not told", () => {
    expect(findLocalAddress()).toMatch(/^[0-9a-f.:]+$/);
  });
});

describe("DEFAULT_FILTERED_QUERY_PARAMS", () => {
  it("has Dragonfly's thirty keys, each once", () => {
    expect(new Set(DEFAULT_FILTERED_QUERY_PARAMS).size).toBe(30);
    expect(DEFAULT_FILTERED_QUERY_PARAMS).toHaveLength(30);
  });
});
