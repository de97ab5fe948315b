import { networkInterfaces } from "node:os";
import { expect, it } from "vitest";
import { firstHopTo } from "./path-mtu.ts";

it("firstHopTo knows this machine by all its addresses", () => {
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  for (const { address } of [...own, { address: "127.0.0.2" }, { address: "::1" }]) {
    expect(firstHopTo(address), address).toMatchObject({ isOwnMachine: true });
  }
});

it("firstHopTo knows the MTU towards a neighbour, and nothing of strangers", () => {
  const outer = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ internal, family, netmask }) => {
      return !internal && family === "IPv4" && netmask !== "255.255.255.255";
    });
  if (outer !== undefined && process.platform === "linux") {
    const last = Number(outer.address.split(".").at(-1));
    const neighbour = outer.address.replace(/\d+$/, String(last === 1 ? 2 : last - 1));
    expect(firstHopTo(neighbour).mtu).toBeGreaterThan(500);
  }
  expect(firstHopTo("203.0.113.1")).toEqual({ isOwnMachine: false, mtu: undefined });
});
