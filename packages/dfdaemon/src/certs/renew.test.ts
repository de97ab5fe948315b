import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTlsIdentity } from "@damselfly/settings";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestAuthority } from "@damselfly/transport/testing";
import { runCertsCommand } from "./certs-command.ts";
import { createFile, replaceFile } from "./create-file.ts";
import { pathsOf, replacePair } from "./node-files.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "renew-"));
  await run("init", "--dir", dir);
  await run("issue", "--dir", dir, "--hostname", "n1", "--ip", "10.0.0.1", "--ip", "::1");
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
const read = (name: string): Promise<string> => readFile(at(name), "utf8");

async function certificateIn(name: string): Promise<X509Certificate> {
  return new X509Certificate(await read(name));
}

/** What a daemon would use at this moment. */
async function load(): Promise<string> {
  const paths = { caCert: at("ca.pem"), cert: at("n1.pem"), key: at("n1-key.pem") };
  const identity = await loadTlsIdentity(paths, { name: "security" });
  const leaf = new X509Certificate(identity?.cert ?? "");
  expect(leaf.checkPrivateKey(createPrivateKey(identity?.key ?? ""))).toBe(true);
  return leaf.serialNumber;
}

describe("certs renew", () => {
  it("puts another certificate with the same names and another key in their place", async () => {
    const former = await certificateIn("n1.pem");
    const formerKey = await read("n1-key.pem");
    const { code, out } = await run("renew", at("n1.pem"), "--dir", dir, "--days", "20");
    expect(code).toBe(0);
    const next = await certificateIn("n1.pem");
    expect(out).toContain(`Renewed ${at("n1.pem")} for n1`);
    expect(out).toContain(`The former one (serial ${former.serialNumber}) is good to`);
    expect(next.subjectAltName).toBe(former.subjectAltName);
    expect(next.subject).toBe(former.subject);
    expect(next.serialNumber).not.toBe(former.serialNumber);
    expect(next.keyUsage).toEqual(former.keyUsage);
    expect(Date.parse(next.validTo)).toBeLessThan(Date.now() + 21 * 86_400_000);
    expect(await read("n1-key.pem")).not.toBe(formerKey);
    expect((await read("n1-key.pem")).match(/BEGIN/g)).toHaveLength(1);
    await load();
    expect((await readdir(dir)).toSorted()).toEqual([
      "ca-key.pem",
      "ca.pem",
      "issued.txt",
      "n1-key.pem",
      "n1.pem",
    ]);
  });

  it("leaves a pair that fits at every moment, whichever file is read first and whenever", async () => {
    // After each of its steps on the disk, as if it had ended there.
    const moments: string[] = [];
    const node = await createTestAuthority().then((authority) => authority.issue());
    const former = { cert: await read("n1.pem"), key: await read("n1-key.pem") };
    for (const stepCount of [0, 1, 2, 3]) {
      await writeFile(at("n1.pem"), former.cert);
      await writeFile(at("n1-key.pem"), former.key);
      const keys = `${former.key}${node.key}`;
      const steps = [
        () => replaceFile(at("n1-key.pem"), keys),
        () => replaceFile(at("n1.pem"), node.cert),
        () => replaceFile(at("n1-key.pem"), node.key),
      ];
      for (const step of steps.slice(0, stepCount)) await step();
      moments.push(await load());
    }
    const [old, fresh] = [former, node].map(({ cert }) => new X509Certificate(cert).serialNumber);
    expect(moments).toEqual([old, old, fresh, fresh]);
  });

  it("is never seen half done by who reads all the while", async () => {
    const seen = new Set<string>();
    const done = new AbortController();
    const reader = (async () => {
      while (!done.signal.aborted) seen.add(await load());
    })();
    for (let count = 0; count < 10; count++) {
      expect((await run("renew", at("n1.pem"), "--dir", dir)).code).toBe(0);
    }
    done.abort();
    await reader;
    expect(seen.size).toBeGreaterThan(1);
  });

  it("keeps the key when told to, which need not be there", async () => {
    const former = await certificateIn("n1.pem");
    const key = await read("n1-key.pem");
    expect((await run("renew", at("n1.pem"), "--dir", dir, "--keep-key")).code).toBe(0);
    expect(await read("n1-key.pem")).toBe(key);
    await load();
    await rm(at("n1-key.pem"));
    const { code, out } = await run("renew", at("n1.pem"), "--dir", dir, "--keep-key");
    expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining("for the same key") });
    const next = await certificateIn("n1.pem");
    expect(next.publicKey.export({ type: "spki", format: "pem" })).toBe(
      former.publicKey.export({ type: "spki", format: "pem" }),
    );
    expect(next.serialNumber).not.toBe(former.serialNumber);
  });

  it("does not certify the key of a revoked certificate again", async () => {
    await run("revoke", at("n1.pem"), "--dir", dir);
    const refused = await run("renew", at("n1.pem"), "--dir", dir, "--keep-key");
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/n1\.pem: it is revoked by revoked\.txt, and its key may be in/);
    expect((await run("renew", at("n1.pem"), "--dir", dir)).code).toBe(0);
  });

  it("signs with another authority, which is how one is replaced", async () => {
    await run("init", "--dir", at("next"));
    const { code, out } = await run("renew", at("n1.pem"), "--dir", at("next"));
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining("by another authority than before"),
    });
    const authority = new X509Certificate(await read("next/ca.pem"));
    expect((await certificateIn("n1.pem")).verify(authority.publicKey)).toBe(true);
  });

  it("leaves modes, and links that lead to the files", async () => {
    await mkdir(at("real"));
    for (const name of ["n1.pem", "n1-key.pem"]) {
      await writeFile(at(`real/${name}`), await read(name));
      await rm(at(name));
      await symlink(join("real", name), at(name));
    }
    await chmod(at("real/n1-key.pem"), 0o640);
    expect((await run("renew", at("n1.pem"), "--dir", dir)).code).toBe(0);
    expect(await readlink(at("n1-key.pem"))).toBe(join("real", "n1-key.pem"));
    expect((await stat(at("real/n1-key.pem"))).mode & 0o777).toBe(0o640);
    expect(await readdir(at("real"))).toHaveLength(2);
    await load();
  });

  it("renews several, and stops at the first that it cannot", async () => {
    await run("issue", "--dir", dir, "--hostname", "n2", "--ip", "10.0.0.2");
    await writeFile(at("bad.pem"), "nonsense");
    const files = [at("n1.pem"), at("bad.pem"), at("n2.pem")];
    const before = await read("n2.pem");
    const { code, out, err } = await run("renew", ...files, "--dir", dir);
    expect(code).toBe(1);
    expect(out).toContain("for n1");
    expect(err).toMatch(/Cannot renew .*bad\.pem: .* holds no certificate/);
    expect(await read("n2.pem")).toBe(before);
  });

  it.each<[string, readonly string[], RegExp]>([
    ["an authority's", ["ca.pem"], /ca\.pem: it is an authority's/],
    ["one that is not there", ["none.pem"], /none\.pem: Cannot read .*ENOENT/],
    ["one whose key is elsewhere", ["lone.pem"], /its key is not at .*lone-key\.pem: give --key/],
    ["one that names no host", ["nameless.pem"], /it names no host/],
  ])("ends with 1 for %s", async (_, files, message) => {
    const authority = await createTestAuthority();
    await writeFile(at("lone.pem"), await read("n1.pem"));
    await writeFile(at("nameless.pem"), (await authority.issue()).cert);
    const { code, err } = await run("renew", ...files.map(at), "--dir", dir);
    expect(code).toBe(1);
    expect(err).toMatch(message);
  });

  it("ends with 1 without an authority", async () => {
    const { code, err } = await run("renew", at("n1.pem"), "--dir", at("nowhere"));
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("certs init makes one"),
    });
  });
});

describe("replaceFile", () => {
  it("leaves nothing behind when it fails, and the file as it was", async () => {
    await createFile(at("x"), "old", { mode: 0o600, replace: false });
    await expect(replaceFile(at("y"), "new")).rejects.toMatchObject({ code: "ENOENT" });
    await rm(at("x"));
    await mkdir(at("x"));
    await writeFile(at("x/inside"), "");
    await expect(replaceFile(at("x"), "new")).rejects.toThrow();
    expect((await readdir(dir)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("replacePair", () => {
  it("goes on where one before it ended halfway", async () => {
    const node = await createTestAuthority().then((authority) => authority.issue());
    const former = await read("n1-key.pem");
    await writeFile(
      at("n1-key.pem"),
      `${former}${(await createTestAuthority().then((one) => one.issue())).key}`,
    );
    await replacePair(pathsOf(at("n1")), node);
    expect(await read("n1-key.pem")).toBe(node.key);
    expect(await load()).toBe(new X509Certificate(node.cert).serialNumber);
  });
});
