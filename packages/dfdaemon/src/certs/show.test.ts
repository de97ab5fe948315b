import { X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestAuthority } from "@damselfly/transport/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCertsCommand } from "./certs-command.ts";

const HOUR_MS = 3_600_000;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "show-"));
  await run("init", "--dir", dir);
  await run("issue", "--dir", dir, "--hostname", "n1", "--ip", "10.0.0.1", "--ip", "2001:db8::1");
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function run(
  ...argv: readonly string[]
): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await runCertsCommand(argv, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
  });
  return { code, out, err };
}

const at = (name: string): string => join(dir, name);

describe("certs show", () => {
  it("says who, by whom, its names, until when, for what, and how it is known", async () => {
    const { serialNumber, fingerprint256 } = new X509Certificate(await readFile(at("n1.pem")));
    const { code, out } = await run("show", at("n1.pem"));
    expect(code).toBe(0);
    const lines = out.split("\n");
    expect(lines[0]).toBe(at("n1.pem"));
    expect(lines[1]).toBe("  who      CN=n1");
    expect(lines[2]).toBe("  by       CN=Damselfly CA");
    expect(lines[3]).toBe("  names    n1, d7y, 10.0.0.1, 2001:db8::1");
    expect(lines[4]).toMatch(/^ {2}valid {4}\d{4}-.*Z to \d{4}-.*Z, 36[45] days left$/);
    expect(lines[5]).toBe("  for      servers and clients");
    expect(lines[6]).toBe(`  serial   ${serialNumber}`);
    expect(lines[7]).toBe(`  SHA-256  ${fingerprint256}`);
    expect(lines[8]).toBe(`  key      ${at("n1-key.pem")}, its own`);
    expect(lines).toHaveLength(10);
  });

  it("shows all that are in a directory, and says which are revoked", async () => {
    await run("issue", "--dir", dir, "--hostname", "n2", "--ip", "10.0.0.2");
    await run("revoke", at("n2.pem"), "--dir", dir);
    const { out } = await run("show", dir);
    const blocks = out.split("\n\n").map((block) => block.split("\n")[0]);
    expect(blocks).toEqual(["ca.pem", "n1.pem", "n2.pem"].map(at));
    expect(out).toContain("CN=Damselfly CA, an authority");
    expect(out).toContain("by       itself");
    expect(out.match(/revoked {2}no \(/g)).toHaveLength(2);
    expect(out).toContain(`revoked  YES, by ${at("revoked.txt")}`);
  });

  it("says what is out of date, not valid yet, not for everything, or has another's key", async () => {
    const authority = await createTestAuthority();
    const now = Date.now();
    const old = await authority.issue({
      validUntil: new Date(now - 5 * HOUR_MS),
      validFrom: new Date(now - 9 * HOUR_MS),
      usages: ["client"],
      dnsNames: [],
      ips: [],
    });
    const future = await authority.issue({
      validFrom: new Date(now + 5 * HOUR_MS + 60_000),
      validUntil: new Date(now + 9 * HOUR_MS),
    });
    await writeFile(at("old.pem"), old.cert);
    await writeFile(at("old-key.pem"), future.key);
    await writeFile(at("future.pem"), future.cert);
    const { out } = await run("show", at("old.pem"), at("future.pem"));
    expect(out).toMatch(/EXPIRED 5 hours ago\n {2}for {6}clients\n/);
    expect(out).toMatch(/names {4}none\n/);
    expect(out).toMatch(/key {6}.*old-key\.pem, NOT ITS OWN/);
    expect(out).toMatch(/NOT YET VALID for 5 hours\n {2}for {6}everything\n/);
  });

  it("numbers those of a file with several", async () => {
    const intermediate = await (await createTestAuthority()).createIntermediate();
    await writeFile(at("chain.pem"), (await intermediate.issue()).cert);
    const { out } = await run("show", at("chain.pem"));
    expect(out).toContain(`${at("chain.pem")} [1 of 2]\n  who      CN=Test node`);
    expect(out).toContain(`${at("chain.pem")} [2 of 2]\n  who      CN=Test intermediate, an auth`);
  });

  it("tells programs the same", async () => {
    await run("revoke", at("n1.pem"), "--dir", dir, "--list", at("other.txt"));
    const { out } = await run("show", at("n1.pem"), "--json", "--list", at("other.txt"));
    expect(JSON.parse(out)).toEqual([
      {
        file: at("n1.pem"),
        subject: "CN=n1",
        issuer: "CN=Damselfly CA",
        isAuthority: false,
        names: { dns: ["n1", "d7y"], ip: ["10.0.0.1", "2001:db8::1"], other: [] },
        validFrom: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        validTo: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        usages: ["servers", "clients"],
        serial: expect.stringMatching(/^[0-9A-F]{32}$/),
        sha256: expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/),
        expired: false,
        revoked: true,
        key: "own",
      },
    ]);
    expect(JSON.parse((await run("show", dir, "--json")).out)).toMatchObject([
      { isAuthority: true, key: "own" },
      { revoked: null },
    ]);
  });

  it("shows nothing of a private key", async () => {
    const { out, err } = await run("show", dir, "--json");
    const refused = await run("show", at("n1-key.pem"));
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("n1-key.pem: it holds no certificate");
    expect(out + err + refused.err).not.toContain("PRIVATE");
  });

  it("ends with 1 where there is nothing, or nothing that can be read", async () => {
    await mkdir(at("empty"));
    expect(await run("show", at("empty"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("there are none in"),
    });
    expect(await run("show", at("none"))).toMatchObject({
      code: 1,
      err: expect.stringContaining(`Cannot read ${at("none")}: ENOENT`),
    });
    await writeFile(
      at("bad.pem"),
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    expect(await run("show", at("bad.pem"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("bad.pem: it cannot be read"),
    });
    await writeFile(at("l.txt"), "nonsense");
    expect(await run("show", at("n1.pem"), "--list", at("l.txt"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("l.txt: line 1"),
    });
  });
});
