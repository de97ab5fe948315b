import {
  implementService,
  serveRpc,
  status,
  type ListSchedulersRequest__Output,
  type ListSchedulersResponse,
  type RpcServer,
} from "@damselfly/rpc";
import { createTestAuthority } from "@damselfly/rpc/testing";
import type { TlsIdentity } from "@damselfly/transport";
import { afterEach, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../logger.ts";
import { openManagerSource, type ManagerSourceOptions } from "./manager-source.ts";
import type { SchedulerSource } from "./scheduler-source.ts";

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of disposables.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const requests: ListSchedulersRequest__Output[] = [];

async function serveManager(
  answer: () => ListSchedulersResponse,
  { port = 0, tls }: { readonly port?: number; readonly tls?: TlsIdentity } = {},
): Promise<{ readonly server: RpcServer; readonly port: number }> {
  requests.length = 0;
  const service = implementService("manager.v2.Manager", {
    async listSchedulers(request) {
      requests.push(request);
      return answer();
    },
  });
  const address = { ip: "127.0.0.1", port };
  const server = await serveRpc({ address, services: [service], tls, graceMs: 200 });
  disposables.push(server);
  if (!("port" in server.address)) throw new TypeError("expected a TCP address");
  return { server, port: server.address.port };
}

function open(
  address: string,
  options: Partial<Omit<ManagerSourceOptions, "host">> & {
    readonly host?: Partial<ManagerSourceOptions["host"]>;
  } = {},
): SchedulerSource {
  const source = openManagerSource({
    address,
    logger: SILENT_LOGGER,
    ...options,
    host: {
      hostname: "node-1",
      ip: "10.0.0.7",
      seed: false,
      idc: "",
      location: "",
      schedulerClusterId: 0,
      version: "1.2.3",
      ...options.host,
    },
  });
  disposables.push(source);
  return source;
}

const { signal } = new AbortController();

describe("openManagerSource", () => {
  it("asks as Dragonfly's daemons do, for a daemon and for a seed", async () => {
    const { port } = await serveManager(() => ({}));
    await open(`http://127.0.0.1:${port}`).list(signal);
    await open(`127.0.0.1:${port}`, {
      host: { seed: true, idc: "dc-1", location: "hall|2", schedulerClusterId: 4 },
    }).list(signal);
    expect(requests).toMatchObject([
      {
        sourceType: "PEER_SOURCE",
        hostname: "node-1",
        ip: "10.0.0.7",
        version: "1.2.3",
        commit: "",
        schedulerClusterId: 0,
      },
      {
        sourceType: "SEED_PEER_SOURCE",
        idc: "dc-1",
        location: "hall|2",
        schedulerClusterId: 4,
      },
    ]);
    expect(requests[0]).not.toHaveProperty("idc");
  });

  it("lists what the manager names, without what is no address", async () => {
    const { port } = await serveManager(() => ({
      schedulers: [
        { id: 1, hostname: "scheduler-0", ip: "10.0.0.1", port: 8002, schedulerClusterId: 1 },
        { id: 2, hostname: "", ip: "fd00::1", port: 8002, schedulerClusterId: 2 },
        { id: 3, hostname: "bad", ip: "not an ip", port: 8002, schedulerClusterId: 1 },
        { id: 4, hostname: "bad", ip: "10.0.0.2", port: 70_000, schedulerClusterId: 1 },
      ],
    }));
    const { schedulers } = await open(`http://127.0.0.1:${port}`).list(signal);
    expect(schedulers).toEqual([
      { name: "scheduler-0", ip: "10.0.0.1", port: 8002, id: 1, clusterId: 1 },
      { name: "[fd00::1]:8002", ip: "fd00::1", port: 8002, id: 2, clusterId: 2 },
    ]);
  });

  it.each([1_000, 1_001, 20_000])(
    "looks at the first thousand of %i schedulers, and at their clusters",
    async (count) => {
      const { port } = await serveManager(() => ({
        schedulers: Array.from({ length: count }, (_, id) => ({
          id,
          ip: "10.0.0.1",
          port: 8002,
          schedulerClusterId: id,
          schedulerCluster: {},
        })),
      }));
      const { schedulers, blockLists } = await open(`http://127.0.0.1:${port}`).list(signal);
      const first = Array.from({ length: 1_000 }, (_, id) => id);
      expect(schedulers.map(({ id }) => id)).toEqual(first);
      expect([...(blockLists?.keys() ?? [])]).toEqual(first);
    },
  );

  it("heeds each cluster's block list, for daemons or for seeds", async () => {
    const config = (tag: string): Buffer =>
      Buffer.from(JSON.stringify({ blockList: { task: { download: { tags: [tag] } } } }));
    const cluster = (clientConfig: Buffer, seedClientConfig = clientConfig): object => ({
      schedulerCluster: { clientConfig, seedClientConfig },
    });
    const { port } = await serveManager(() => ({
      schedulers: [
        { ip: "10.0.0.1", port: 1, schedulerClusterId: 1, ...cluster(config("a"), config("s")) },
        { ip: "10.0.0.2", port: 1, schedulerClusterId: 2, ...cluster(Buffer.from("{no JSON")) },
        { ip: "10.0.0.3", port: 1, schedulerClusterId: 3, ...cluster(Buffer.alloc(0)) },
        { ip: "10.0.0.4", port: 1, schedulerClusterId: 4 },
      ],
    }));
    for (const seed of [false, true]) {
      const source = open(`http://127.0.0.1:${port}`, { host: { seed } });
      const { blockLists } = await source.list(signal);
      const blocked = ["a", "s"].map((tag) =>
        [1, 2, 3, 4].filter((id) =>
          blockLists?.get(id)?.blocks({ url: "http://o.test", tag, priority: "LEVEL0" }),
        ),
      );
      expect(blocked).toEqual(seed ? [[], [1]] : [[1], []]);
    }
  });

  it("looks the manager up again when it has moved, and tries all its addresses", async () => {
    const answer = (): ListSchedulersResponse => ({ schedulers: [{ ip: "10.0.0.1", port: 1 }] });
    const { server, port } = await serveManager(answer);
    let addresses = ["127.0.0.9", "127.0.0.1"];
    const source = open(`http://manager.test:${port}`, {
      lookUp: async () => addresses.map((address) => ({ address, family: 4 })),
    });
    expect((await source.list(signal)).schedulers).toHaveLength(1);
    await server.abort();
    await expect(source.list(signal)).rejects.toMatchObject({ code: "ERR_SCHEDULER" });
    await serveManager(answer, { port });
    addresses = ["127.0.0.1"];
    expect((await source.list(signal)).schedulers).toHaveLength(1);
  });

  it("says what the manager says when it refuses", async () => {
    const { port } = await serveManager(() => {
      throw status("INVALID_ARGUMENT", "invalid hostname");
    });
    await expect(open(`http://127.0.0.1:${port}`).list(signal)).rejects.toThrow("invalid hostname");
  });

  it("speaks TLS with certificates, and believes nobody who is not named", async () => {
    const authority = await createTestAuthority();
    const tls = await authority.issue({ dnsNames: ["manager.test"], ips: [] });
    const { port } = await serveManager(() => ({ schedulers: [{ ip: "10.0.0.1", port: 1 }] }), {
      tls,
    });
    const own = await authority.issue();
    const lookUp = async (): Promise<{ address: string; family: number }[]> => [
      { address: "127.0.0.1", family: 4 },
    ];
    const listing = open(`https://manager.test:${port}`, { tls: own, lookUp }).list(signal);
    expect((await listing).schedulers).toHaveLength(1);
    const other = open(`https://other.test:${port}`, { tls: own, lookUp }).list(signal);
    await expect(other).rejects.toThrow("expected other.test");
  });

  it.each(["", "http://", "ftp://manager:1", "a b"])("refuses the address '%s'", (address) => {
    expect(() => open(address)).toThrow("Cannot use manager.addr");
  });
});
