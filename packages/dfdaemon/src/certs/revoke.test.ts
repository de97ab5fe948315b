import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseRevocationList } from "@damselfly/settings";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCertsCommand } from "./certs-command.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "revoke-"));
  await run("init", "--dir", dir);
  for (const name of ["n1", "n2"])
    await run("issue", "--dir", dir, "--hostname", name, "--ip", "10.0.0.1");
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
const listed = async (name = "revoked.txt"): Promise<string[]> =>
  parseRevocationList(await readFile(at(name), "utf8"));
const serialOf = async (name: string): Promise<string> =>
  new X509Certificate(await readFile(at(name))).serialNumber;

describe("certs revoke", () => {
  it("makes a list that nodes can read, and says what to do with it", async () => {
    const serial = await serialOf("n1.pem");
    const { code, out } = await run("revoke", at("n1.pem"), "--dir", dir, "--reason", "stolen");
    expect(code).toBe(0);
    expect(out).toContain(`Revoked n1 (serial ${serial})`);
    expect(out).toMatch(/takes effect on each node once .*revoked\.txt is there, where security/);
    expect(await listed()).toEqual([serial]);
    const text = await readFile(at("revoked.txt"), "utf8");
    expect(text).toMatch(/^# Certificates that are trusted no more/);
    expect(text).toMatch(/# n1, valid to \d{4}-\d\d-\d\d, revoked \d{4}-\d\d-\d\d: stolen\n$/);
    expect((await stat(at("revoked.txt"))).mode & 0o444).toBe(0o444);
  });

  it("adds to what is there, remarks and all, and each once", async () => {
    const [one, two] = [await serialOf("n1.pem"), await serialOf("n2.pem")];
    await writeFile(at("revoked.txt"), "5A # by hand, without an end");
    await run("revoke", at("n1.pem"), at("n1.pem"), "--dir", dir);
    const { out } = await run("revoke", at("n1.pem"), "--serial", two, "--dir", dir);
    expect(out).toContain(`n1 (serial ${one}) is on the list already`);
    expect(out).toContain(`Revoked n2 (serial ${two})`);
    expect(await listed()).toEqual(["5A", one, two]);
    expect(await readFile(at("revoked.txt"), "utf8")).toMatch(/^5A # by hand, without an end\n/);
    const again = await run("revoke", at("n1.pem"), "--dir", dir);
    expect(again.out).not.toContain("takes effect");
  });

  it("finds all that was issued for a host, also what its file says no more", async () => {
    const first = await serialOf("n1.pem");
    await run("renew", at("n1.pem"), "--dir", dir);
    const second = await serialOf("n1.pem");
    const { out } = await run("revoke", at("n1.pem"), "--dir", dir);
    expect(out).toContain(`Another one of n1 is still good: serial ${first}`);
    expect(await listed()).toEqual([second]);
    await rm(at("n1.pem"));
    expect((await run("revoke", "--hostname", "n1", "--dir", dir)).code).toBe(0);
    expect(await listed()).toEqual([second, first]);
  });

  it("takes a serial number that nobody knows", async () => {
    const { code, out } = await run(
      "revoke",
      "--serial",
      "0a:0B",
      "--dir",
      at("nowhere"),
      "--list",
      at("l.txt"),
    );
    expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining("Revoked serial A0B") });
    expect(await listed("l.txt")).toEqual(["A0B"]);
  });

  it.each<[string, readonly string[], RegExp]>([
    ["an authority", ["ca.pem"], /it is an authority's; take it out of/],
    ["a file that is not there", ["none.pem"], /none\.pem: ENOENT/],
    ["a key", ["n1-key.pem"], /n1-key\.pem: it holds no certificate/],
  ])("ends with 1 for %s, and revokes nothing", async (_, files, message) => {
    const { code, err } = await run("revoke", at("n2.pem"), ...files.map(at), "--dir", dir);
    expect(code).toBe(1);
    expect(err).toMatch(message);
    await expect(listed()).rejects.toThrow("ENOENT");
  });

  it("ends with 1 for a host of which nothing is known", async () => {
    const { code, err } = await run("revoke", "--hostname", "n3", "--dir", dir);
    expect(code).toBe(1);
    expect(err).toMatch(/Cannot revoke n3: .*issued\.txt knows no certificate of it/);
  });

  it("ends with 1 for a list that it cannot read, and leaves it", async () => {
    await writeFile(at("revoked.txt"), "nonsense");
    const { code, err } = await run("revoke", at("n1.pem"), "--dir", dir);
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringMatching(/Cannot add to the list .*revoked\.txt: line 1/),
    });
    expect(await readFile(at("revoked.txt"), "utf8")).toBe("nonsense");
  });

  it("ends with 1 for a record of what was issued that is damaged", async () => {
    await writeFile(at("issued.txt"), "# head\n5A  someday  n1\n");
    const { code, err } = await run("revoke", at("n1.pem"), "--dir", dir);
    expect(code).toBe(1);
    expect(err).toMatch(/issued\.txt: line 2 is no serial number, end and hostname/);
  });
});
