import { describe, expect, it } from "vitest";
import { namedSchedulers, parseAddress, resolveSchedulers } from "./resolve-schedulers.ts";

const v4 = (address: string): { address: string; family: number } => ({ address, family: 4 });
const v6 = (address: string): { address: string; family: number } => ({ address, family: 6 });

const NAMES: Readonly<Record<string, { address: string; family: number }[]>> = {
  "schedulers.test": [v6("fd00::1"), v4("10.0.0.1"), v4("10.0.0.2")],
  "v6.test": [v6("fd00::1"), v6("fd00::2")],
};

async function lookUp(hostname: string): Promise<{ address: string; family: number }[]> {
  const found = NAMES[hostname];
  if (found === undefined) throw new Error(`getaddrinfo ENOTFOUND ${hostname}`);
  return found;
}

async function targets(...addresses: string[]): Promise<string[]> {
  return (await resolveSchedulers(addresses, lookUp)).map(({ name }) => name);
}

describe("resolveSchedulers", () => {
  it("takes all IPv4 addresses of a name", async () => {
    expect(await targets("schedulers.test:8002")).toEqual(["10.0.0.1:8002", "10.0.0.2:8002"]);
  });

  it("takes the IPv6 ones where there are no others", async () => {
    expect(await targets("v6.test:8002")).toEqual(["[fd00::1]:8002", "[fd00::2]:8002"]);
  });

  it("takes addresses as they are, and each once", async () => {
    const given = ["10.0.0.2:8002", "[fd00::9]:1", "schedulers.test:8002", "10.0.0.2:8003"];
    expect(await targets(...given)).toEqual([
      "10.0.0.2:8002",
      "[fd00::9]:1",
      "10.0.0.1:8002",
      "10.0.0.2:8003",
    ]);
  });

  it("leaves out a name that cannot be found as long as there is anybody else", async () => {
    expect(await targets("none.test:8002", "10.0.0.9:8002")).toEqual(["10.0.0.9:8002"]);
    await expect(targets("none.test:8002")).rejects.toThrow("Cannot find scheduler 'none.test'");
  });

  it("looks names up anew each time", async () => {
    let address = "10.0.0.1";
    const source = namedSchedulers("scheduler.addrs", ["schedulers.test:1"], async () => [
      v4(address),
    ]);
    const { signal } = new AbortController();
    expect(await source.list(signal)).toMatchObject({
      schedulers: [{ ip: "10.0.0.1", port: 1 }],
    });
    address = "10.0.0.2";
    expect(await source.list(signal)).toMatchObject({
      schedulers: [{ ip: "10.0.0.2", port: 1 }],
    });
  });
});

describe("parseAddress", () => {
  it.each(["10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "fd00::1:80", "[name]:80", ":80", "a b"])(
    "refuses '%s'",
    (text) => {
      expect(() => parseAddress(text)).toThrow(`Cannot use scheduler '${text}'`);
    },
  );
});
