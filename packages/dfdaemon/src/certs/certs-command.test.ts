import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { loadTlsIdentity } from "@damselfly/settings";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CERTS_HELP, runCertsCommand } from "./certs-command.ts";
import { createFile } from "./create-file.ts";

const NODE_FLAGS = ["--hostname", "node-1", "--ip", "10.0.0.1", "--ip", "10.0.0.2"];

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "certs-"));
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

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777;
}

describe("runCertsCommand", () => {
  it("makes an authority and a node's certificate that the daemon loads", async () => {
    const deep = join(dir, "a", "b");
    expect(await run("init", "--dir", deep)).toMatchObject({ code: 0, err: "" });
    const issued = await run("issue", "--dir", deep, ...NODE_FLAGS);
    expect(issued.code).toBe(0);
    expect(issued.out).toContain(`key: ${join(deep, "node-1-key.pem")}`);
    expect((await readdir(deep)).toSorted()).toEqual([
      "ca-key.pem",
      "ca.pem",
      "issued.txt",
      "node-1-key.pem",
      "node-1.pem",
    ]);
    const identity = await loadTlsIdentity(
      {
        caCert: join(deep, "ca.pem"),
        cert: join(deep, "node-1.pem"),
        key: join(deep, "node-1-key.pem"),
      },
      { name: "security" },
    );
    expect(new X509Certificate(identity?.cert ?? "").subjectAltName).toBe(
      "DNS:node-1, DNS:d7y, IP Address:10.0.0.1, IP Address:10.0.0.2",
    );
  });

  it("writes keys for the owner's eyes only", async () => {
    await run("init", "--dir", dir);
    await run("issue", "--dir", dir, "--hostname", "n", "--ip", "::1", "--out", join(dir, "x"));
    expect(await modeOf(join(dir, "ca-key.pem"))).toBe(0o600);
    expect(await modeOf(join(dir, "x-key.pem"))).toBe(0o600);
    expect((await modeOf(join(dir, "x.pem"))) & 0o600).toBe(0o600);
  });

  it("replaces nothing without --force, and everything with it", async () => {
    await run("init", "--dir", dir);
    const before = await readFile(join(dir, "ca.pem"), "utf8");
    const again = await run("init", "--dir", dir);
    expect(again).toMatchObject({ code: 1, out: "" });
    expect(again.err).toMatch(/ca-key\.pem: it is there already, give --force/);
    expect(await readFile(join(dir, "ca.pem"), "utf8")).toBe(before);

    expect((await run("init", "--dir", dir, "--force")).code).toBe(0);
    expect(await readFile(join(dir, "ca.pem"), "utf8")).not.toBe(before);
    expect(await readdir(dir)).toHaveLength(2);
  });

  it("takes the number of days", async () => {
    await run("init", "--dir", dir, "--days", "2");
    const { validTo } = new X509Certificate(await readFile(join(dir, "ca.pem")));
    expect(Date.parse(validTo)).toBeLessThan(Date.now() + 3 * 86_400_000);
  });

  it("prints its help when asked, or when not told what to do", async () => {
    expect(await run()).toEqual({ code: 0, out: CERTS_HELP, err: "" });
    expect(await run("issue", "--help")).toEqual({ code: 0, out: CERTS_HELP, err: "" });
  });

  it.each([
    [["isue"], "expected init, issue, renew, show or revoke"],
    [["init", "--hostname", "a"], "init has no such flag"],
    [["issue", "--hostnme", "a"], "did you mean --hostname?"],
    [["issue", "--ip", "::1"], "--hostname is missing"],
    [["issue", "--hostname", "a"], "--ip is missing"],
    [["issue", "--hostname"], "argument missing"],
    [["init", "stray"], "stray"],
    [["init", "--days", "0"], "expected 1 to 36500"],
    [["init", "--days", "99999"], "expected 1 to 36500"],
    [["renew"], "no file is given"],
    [["renew", "a.pem", "b.pem", "--key", "k"], "it is for one certificate"],
    [["renew", "a.pem", "--key", "k", "--keep-key"], "without --keep-key"],
    [["renew", "a.pem", "--force"], "renew has no such flag"],
    [["revoke"], "expected files, --serial or --hostname"],
    [["revoke", "--serial", "xyz"], "it is no number in hex"],
    [["revoke", "--serial", "ab".repeat(32)], "it is a fingerprint"],
    [["revoke", "--sereal", "1"], "did you mean --serial?"],
    [["show", "--dir", "a"], "show has no such flag"],
  ])("ends with 2 for %j", async (argv, message) => {
    const { code, out, err } = await run(...argv);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });

  it("ends with 1 when there is no authority, or a broken one", async () => {
    const flags = ["issue", "--dir", dir, "--hostname", "a", "--ip", "::1"];
    expect(await run(...flags)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/certs init/),
    });
    await writeFile(join(dir, "ca.pem"), "nonsense");
    await writeFile(join(dir, "ca-key.pem"), "nonsense");
    expect(await run(...flags)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/authority's certificate cannot be read/),
    });
    expect(await readdir(dir)).toHaveLength(2);
  });

  it("ends with 1 for a hostname that cannot stand in a certificate", async () => {
    await run("init", "--dir", dir);
    const refused = await run("issue", "--dir", dir, "--hostname", "../x", "--ip", "::1");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("the name is '../x'");
  });
});

describe("createFile", () => {
  it("leaves nothing behind when it fails", async () => {
    await writeFile(join(dir, "there"), "old");
    const path = join(dir, "there");
    await expect(createFile(path, "new", { mode: 0o600, replace: false })).rejects.toMatchObject({
      code: "EEXIST",
    });
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(dir)).toEqual(["there"]);
  });

  it("replaces a readable file by one that is not", async () => {
    const path = join(dir, "key");
    await writeFile(path, "old");
    await chmod(path, 0o644);
    await createFile(path, "new", { mode: 0o600, replace: true });
    expect(await modeOf(path)).toBe(0o600);
    expect(await readFile(path, "utf8")).toBe("new");
  });
});
