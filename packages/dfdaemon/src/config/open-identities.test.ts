import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAuthority, issueCertificate } from "../certs/certificates.ts";
import { configSchema } from "./config-schema.ts";
import { loadIdentities, type Identities } from "./load-identities.ts";

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

async function load(given: object): Promise<Identities> {
  return await loadIdentities(configSchema.parse(given));
}

describe("loadIdentities", () => {
  it("has none without certificates", async () => {
    expect(await load({})).toEqual({ server: undefined, client: undefined, scheduler: undefined });
  });

  it("uses those of security everywhere", async () => {
    const { server, client, scheduler } = await load({ security: files("common") });
    expect(server?.cert).toContain("BEGIN CERTIFICATE");
    expect([client, scheduler]).toEqual([server, server]);
  });

  it("lets each of Dragonfly's sections override them", async () => {
    const common = await load({ security: files("common") });
    const each = await load({
      security: files("common"),
      upload: { server: files("server"), client: files("client") },
      scheduler: files("scheduler"),
    });
    const certs = [common.server, each.server, each.client, each.scheduler].map((one) => one?.cert);
    expect(new Set(certs).size).toBe(4);
  });

  it("talks plain to a Dragonfly scheduler, unless that has certificates of its own", async () => {
    const security = { ...files("common"), plainPeers: true };
    expect((await load({ security })).scheduler).toBeUndefined();
    expect((await load({ security, scheduler: files("scheduler") })).scheduler).toBeDefined();
  });

  it("refuses a section that is half given, naming what is missing", async () => {
    const upload = { server: { ...files("server"), key: "" } };
    await expect(load({ upload })).rejects.toMatchObject({
      code: "ERR_SETTINGS_TLS",
      message: expect.stringContaining("upload.server.key is missing"),
    });
  });
});
