import { describe, expect, it } from "vitest";
import { channelTarget, formatTarget } from "./target.ts";

describe("formatTarget", () => {
  it("puts brackets around IPv6 addresses only", () => {
    expect(formatTarget({ ip: "10.0.0.1", port: 4000 })).toBe("10.0.0.1:4000");
    expect(formatTarget({ ip: "fe80::1", port: 4000 })).toBe("[fe80::1]:4000");
    expect(formatTarget({ socketPath: "/run/d.sock" })).toBe("/run/d.sock");
  });
});

describe("channelTarget", () => {
  it("names the scheme, so that nothing is looked up", () => {
    expect(channelTarget({ ip: "10.0.0.1", port: 4000 })).toBe("ipv4:10.0.0.1:4000");
    expect(channelTarget({ ip: "::1", port: 4000 })).toBe("ipv6:[::1]:4000");
    expect(channelTarget({ socketPath: "/run/d.sock" })).toBe("unix:/run/d.sock");
  });
});
