import * as fc from "fast-check";
import { BlockList, isIPv6 } from "node:net";
import { describe, expect, it } from "vitest";
import { type PathFacts, planLengths } from "./length-plan.ts";
import { type LocalInterface, localInterfaces } from "./local-interfaces.ts";

function at(cidr: string, mtu: number | undefined, name = "eth0"): LocalInterface {
  const [ip = "", prefixLength] = cidr.split("/");
  const family = isIPv6(ip) ? "ipv6" : "ipv4";
  const subnet = new BlockList();
  subnet.addSubnet(ip, Number(prefixLength), family);
  return {
    name,
    ip,
    mtu,
    isInternal: name === "lo",
    contains: (other) => isIPv6(other) === isIPv6(ip) && subnet.check(other, family),
  };
}

const LO = at("127.0.0.1/8", 65_536, "lo");

function plan(peerIp: string, facts: Partial<PathFacts>): unknown {
  return planLengths(peerIp, {
    wanted: "auto",
    localIp: "0.0.0.0",
    isFragmentFree: true,
    interfaces: [LO],
    ...facts,
  });
}

describe("planLengths", () => {
  const ethernet = [LO, at("10.1.0.1/24", 1500), at("2001:db8::1/64", 1500)];
  const jumbo = [LO, at("10.1.0.1/24", 9000), at("2001:db8::1/64", 9000)];
  const tunnel = [LO, at("10.1.0.1/24", 1280, "wg0")];

  it.each([
    ["loopback", "127.0.0.9", [LO], { start: 16_383, steps: [], max: 16_383, isLocal: true }],
    ["loopback, IPv6", "::1", [LO], { start: 16_383, steps: [], max: 16_383, isLocal: true }],
    ["an own address", "10.1.0.1", ethernet, { start: 16_383, steps: [], isLocal: true }],
    ["a neighbour", "10.1.0.2", ethernet, { start: 1472, steps: [], max: 1472, isLocal: false }],
    ["a neighbour, mapped to IPv6", "::ffff:10.1.0.2", ethernet, { start: 1472, steps: [] }],
    ["a neighbour, IPv6", "2001:db8::2", ethernet, { start: 1452, steps: [], max: 1452 }],
    ["a neighbour with jumbo frames", "10.1.0.2", jumbo, { start: 1472, steps: [8972], max: 8972 }],
    ["a neighbour in a tunnel", "10.1.0.2", tunnel, { start: 1252, steps: [], max: 1252 }],
    ["a neighbour by its zone", "fe80::2%eth0", ethernet, { start: 1452, steps: [] }],
    ["the Internet", "198.51.100.1", ethernet, { start: 1350, steps: [1452], max: 1452 }],
    ["the Internet, from jumbo frames", "198.51.100.1", jumbo, { steps: [1452], max: 1452 }],
    ["the Internet, through a tunnel", "198.51.100.1", tunnel, { start: 1252, steps: [] }],
    ["another private network", "10.9.0.1", ethernet, { start: 1350, steps: [1452], max: 1472 }],
    ["another one, from jumbo frames", "10.9.0.1", jumbo, { start: 1350, steps: [1452, 8972] }],
    ["anybody, with no interface known", "10.9.0.1", [], { start: 1350, steps: [1452] }],
    ["a neighbour of unknown MTU", "10.1.0.2", [at("10.1.0.1/24", undefined)], { start: 1350 }],
    ["a neighbour of a tiny MTU", "10.1.0.2", [at("10.1.0.1/24", 576)], { start: 1200, max: 1200 }],
  ])("suits %s", (_, peerIp, interfaces, wanted) => {
    expect(plan(peerIp, { interfaces })).toMatchObject(wanted);
  });

  it("goes by the interface that the socket is bound to", () => {
    const interfaces = [at("10.1.0.1/24", 1400), at("10.2.0.1/24", 9000, "eth1")];
    expect(plan("10.9.0.1", { interfaces, localIp: "10.1.0.1" })).toMatchObject({ max: 1372 });
    expect(plan("10.9.0.1", { interfaces, localIp: "10.2.0.1" })).toMatchObject({ max: 8972 });
  });

  it("tries nothing long where it could be fragmented", () => {
    const facts = { interfaces: jumbo, isFragmentFree: false };
    expect(plan("10.1.0.2", facts)).toMatchObject({ start: 1350, steps: [], max: 1350 });
    expect(plan("127.0.0.1", facts)).toMatchObject({ start: 16_383 });
  });

  it("takes a pinned length as it is", () => {
    const facts = { interfaces: jumbo, wanted: 4000 };
    expect(plan("198.51.100.1", facts)).toMatchObject({ start: 4000, steps: [], max: 4000 });
  });

  it("never leaves the bounds of QUIC and of the binding", () => {
    const mtus = fc.option(fc.nat(100_000), { nil: undefined });
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), fc.nat(32), mtus, (peerIp, ip, prefixLength, mtu) => {
        const facts = { interfaces: [at(`${ip}/${prefixLength}`, mtu)] };
        const { start, steps, max } = planLengths(peerIp, {
          wanted: "auto",
          localIp: ip,
          isFragmentFree: true,
          ...facts,
        });
        const lengths = [start, ...steps, max];
        expect(lengths.toSorted((a, b) => a - b)).toEqual(lengths);
        expect(start).toBeGreaterThanOrEqual(1200);
        expect(max).toBeLessThanOrEqual(16_383);
      }),
    );
  });
});

describe("localInterfaces", () => {
  it("finds loopback, and what it contains", () => {
    const loopback = localInterfaces().find(({ ip }) => ip === "127.0.0.1");
    expect(loopback?.isInternal).toBe(true);
    expect(loopback?.contains("127.0.0.2")).toBe(true);
    expect(loopback?.contains("10.0.0.1")).toBe(false);
    expect(loopback?.contains("::1")).toBe(false);
  });

  it.runIf(process.platform === "linux")("knows MTUs", () => {
    expect(localInterfaces().find(({ ip }) => ip === "127.0.0.1")?.mtu).toBeGreaterThan(1280);
  });

  it("reads them anew after a while", () => {
    const now = performance.now();
    const first = localInterfaces(now);
    expect(localInterfaces(now + 1)).toBe(first);
    expect(localInterfaces(now + 60_000)).not.toBe(first);
  });
});
