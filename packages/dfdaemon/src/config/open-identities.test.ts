import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestAuthority } from "@damselfly/transport/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createAuthority, issueCertificate } from "../certs/certificates.ts";
import { configSchema } from "./config-schema.ts";
import { openIdentities, type Identities } from "./open-identities.ts";

let dir: string;
const NAMES = ["common", "server", "client", "scheduler"] as const;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "identities-"));
  const authority = await createAuthority();
  await writeFile(join(dir, "ca.pem"), authority.cert);
  for (const name of NAMES) {
    const { cert, key } = await issueCertificate(authority, { hostname: name, ips: [] });
    await writeFile(join(dir, `${name}.pem`), cert);
    await writeFile(join(dir, `${name}-key.pem`), key);
  }
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

function files(name: (typeof NAMES)[number]): object {
  return {
    caCert: join(dir, "ca.pem"),
    cert: join(dir, `${name}.pem`),
    key: join(dir, `${name}-key.pem`),
  };
}

const SILENT = { info: () => {}, warn: () => {}, error: () => {} };
const opened: Identities[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
});

async function open(given: object): Promise<Identities> {
  const identities = await openIdentities(configSchema.parse(given), SILENT);
  opened.push(identities);
  return identities;
}

describe("openIdentities", () => {
  it("has none without certificates", async () => {
    const { server, client, scheduler, manager } = await open({});
    expect([server, client, scheduler, manager]).toEqual(Array.from({ length: 4 }));
  });

  it("uses those of security everywhere", async () => {
    const { server, client, scheduler, manager } = await open({ security: files("common") });
    expect(server?.current.cert).toContain("BEGIN CERTIFICATE");
    expect([client, scheduler]).toEqual([server, server]);
    expect(manager).toBeUndefined();
  });

  it("lets each of Dragonfly's sections override them", async () => {
    const common = await open({ security: files("common") });
    const each = await open({
      security: files("common"),
      upload: { server: files("server"), client: files("client") },
      scheduler: files("scheduler"),
    });
    const certs = [common.server, each.server, each.client, each.scheduler].map(
      (one) => one?.current.cert,
    );
    expect(new Set(certs).size).toBe(4);
  });

  it("talks plain to a Dragonfly scheduler, unless that has certificates of its own", async () => {
    const security = { ...files("common"), plainPeers: true };
    expect((await open({ security })).scheduler).toBeUndefined();
    expect((await open({ security, scheduler: files("scheduler") })).scheduler).toBeDefined();
  });

  it("refuses a section that is half given, naming what is missing", async () => {
    const upload = { server: { ...files("server"), key: "" } };
    await expect(open({ upload })).rejects.toMatchObject({
      code: "ERR_SETTINGS_TLS",
      message: expect.stringContaining("upload.server.key is missing"),
    });
  });

  it("wants of each section what its certificate is shown for", async () => {
    const authority = await createTestAuthority();
    const write = async (name: string, usage: "server" | "client"): Promise<object> => {
      const { caCert, cert, key } = await authority.issue({ usages: [usage] });
      const paths = { caCert: `${name}-ca.pem`, cert: `${name}.pem`, key: `${name}-key.pem` };
      const texts = { caCert, cert, key };
      for (const field of ["caCert", "cert", "key"] as const)
        await writeFile(join(dir, paths[field]), texts[field]);
      return Object.fromEntries(
        Object.entries(paths).map(([field, path]) => [field, join(dir, path)]),
      );
    };
    const forServers = await write("for-servers", "server");
    const forClients = await write("for-clients", "client");
    await open({ upload: { server: forServers, client: forClients }, scheduler: forClients });
    await expect(open({ security: forServers })).rejects.toThrow("lacks clientAuth");
    await expect(open({ upload: { server: forClients } })).rejects.toThrow("lacks serverAuth");
    await expect(open({ manager: forServers })).rejects.toThrow("lacks clientAuth");
    // It is shown to those who dial the one inside.
    await expect(open({ scheduler: { ...forClients, embedded: true } })).rejects.toThrow(
      "lacks serverAuth",
    );
  });

  it("hands the list of the revoked to all of them", async () => {
    const revoked = join(dir, "revoked.txt");
    await writeFile(revoked, "5A # n3");
    const {
      server,
      scheduler,
      files: read,
    } = await open({
      security: { ...files("common"), revoked },
      scheduler: files("scheduler"),
    });
    expect([server?.current.revoked, scheduler?.current.revoked]).toEqual([["5A"], ["5A"]]);
    expect(read.revokedCount).toBe(1);
    await expect(
      open({ security: { ...files("common"), revoked: join(dir, "missing.txt") } }),
    ).rejects.toThrow(/missing\.txt \(security\.revoked\)/);
  });
});
