import "reflect-metadata";
import { KeyObject, webcrypto, X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509CertificateGenerator } from "@peculiar/x509";
import { formatSerial } from "@damselfly/transport";
import { createTestAuthority, type TestNodeOptions } from "@damselfly/transport/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SettingsError } from "./errors.ts";
import { type CertificateUse, loadTlsIdentity, type TlsPaths } from "./load-tls-identity.ts";

const FROM = new Date("2026-01-01T00:00:00Z");
const TO = new Date("2027-01-01T00:00:00Z");
const nowMs = Date.parse("2026-06-01T00:00:00Z");

let dir: string;
let node: { readonly cert: string; readonly key: string };
let other: typeof node;

async function make(notBefore: Date, notAfter: Date): Promise<typeof node> {
  const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]);
  const cert = await X509CertificateGenerator.createSelfSigned({
    name: "CN=test",
    notBefore,
    notAfter,
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  });
  return {
    cert: cert.toString("pem"),
    key: String(KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" })),
  };
}

async function put(name: string, text: string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, text);
  return path;
}

async function problemOf(paths: TlsPaths, at: number = nowMs): Promise<string> {
  const error: unknown = await loadTlsIdentity(paths, { name: "security", nowMs: at }).catch(
    (caught: unknown) => caught,
  );
  if (!(error instanceof SettingsError)) throw new Error("no SettingsError", { cause: error });
  expect(error.code).toBe("ERR_SETTINGS_TLS");
  return error.message;
}

let good: { readonly caCert: string; readonly cert: string; readonly key: string };
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tls-"));
  [node, other] = await Promise.all([make(FROM, TO), make(FROM, TO)]);
  good = {
    caCert: await put("ca.pem", other.cert),
    cert: await put("node.pem", `${node.cert}\n${other.cert}`),
    key: await put("node-key.pem", node.key),
  };
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});

describe("loadTlsIdentity", () => {
  it("returns the three texts", async () => {
    expect(await loadTlsIdentity(good, { name: "security", nowMs })).toEqual({
      caCert: other.cert,
      cert: `${node.cert}\n${other.cert}`,
      key: node.key,
    });
  });

  it("is undefined when none is given", async () => {
    expect(await loadTlsIdentity({}, { name: "security" })).toBeUndefined();
    expect(
      await loadTlsIdentity({ caCert: "", cert: "", key: undefined }, { name: "security" }),
    ).toBeUndefined();
  });

  it("names the keys that are missing", async () => {
    expect(await problemOf({ ...good, key: "" })).toBe(
      "Cannot use TLS: security.key is missing, expected all of security.caCert, security.cert, security.key or none",
    );
    expect(await problemOf({ key: good.key })).toContain(
      "security.caCert and security.cert are missing",
    );
  });

  it("names the file that is not there", async () => {
    const cert = join(dir, "missing.pem");
    expect(await problemOf({ ...good, cert })).toContain(
      `${cert} (security.cert) cannot be read: ENOENT`,
    );
  });

  it.each([
    ["caCert", "no PEM at all", "holds no certificate"],
    ["cert", "", "holds no certificate"],
    [
      "cert",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
      "holds a certificate that cannot be read",
    ],
    ["key", "garbage", "holds no private key that can be read"],
    ["key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA", "is encrypted, expected a key without"],
    [
      "key",
      "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA",
      "is encrypted, expected a key without",
    ],
  ])("refuses a %s file with %j", async (setting, text, message) => {
    const path = await put("bad.pem", text);
    const problem = await problemOf({ ...good, [setting]: path });
    expect(problem).toContain(`${path} (security.${setting}) ${message}`);
  });

  it("refuses a key that is another certificate's", async () => {
    const key = await put("other-key.pem", other.key);
    expect(await problemOf({ ...good, key })).toContain(
      `${key} (security.key) is not the key of the certificate in ${good.cert}`,
    );
  });

  it("refuses a key in the place of a certificate, without showing it", async () => {
    const problem = await problemOf({ ...good, cert: good.key });
    expect(problem).toContain("holds no certificate");
    expect(problem).not.toContain("PRIVATE");
  });

  it("refuses certificates out of date, with the date", async () => {
    expect(await problemOf(good, TO.getTime() + 1000)).toMatch(
      /expired on Jan +1 00:00:00 2027 GMT/,
    );
    expect(await problemOf(good, FROM.getTime() - 1000)).toMatch(
      /is not valid before Jan +1 00:00:00 2026 GMT, it is now 2025-12-31T23:59:59/,
    );
    const soon = await make(FROM, new Date("2026-02-01T00:00:00Z"));
    const pair = { cert: await put("o.pem", soon.cert), key: await put("o-key.pem", soon.key) };
    expect(await problemOf({ ...good, ...pair })).toContain("(security.cert) expired on Feb  1");
  });

  it("takes an authority that has expired beside its successor", async () => {
    const old = await make(FROM, new Date("2026-02-01T00:00:00Z"));
    const caCert = await put("both.pem", `${old.cert}\n${other.cert}`);
    const identity = await loadTlsIdentity({ ...good, caCert }, { name: "security", nowMs });
    expect(identity?.cert).toContain(node.cert);
    const only = await put("old.pem", old.cert);
    expect(await problemOf({ ...good, caCert: only })).toContain("(security.caCert) expired on");
  });

  it("wants a certificate that may be shown where it is to be", async () => {
    const authority = await createTestAuthority();
    const loadAs = async (
      usages: TestNodeOptions["usages"],
      uses: readonly CertificateUse[],
    ): Promise<string | undefined> => {
      const { caCert, cert, key } = await authority.issue({ usages });
      const paths = {
        caCert: await put("u-ca.pem", caCert),
        cert: await put("u.pem", cert),
        key: await put("u-key.pem", key),
      };
      return await loadTlsIdentity(paths, { name: "security", uses }).then(
        () => undefined,
        (error: unknown) => String(error),
      );
    };
    expect(await loadAs(undefined, ["server", "client"])).toBeUndefined();
    expect(await loadAs(["server"], ["server"])).toBeUndefined();
    expect(await loadAs(["client"], ["client"])).toBeUndefined();
    expect(await loadAs(["client"], ["server", "client"])).toMatch(
      /u\.pem \(security\.cert\) is not for this use: its extended key usage lacks serverAuth, expected one for servers and clients/,
    );
    expect(await loadAs(["server"], ["client"])).toMatch(
      /lacks clientAuth, expected one for clients/,
    );
  });

  it("refuses a certificate whose key may not sign, which QUIC would find out much later", async () => {
    const authority = await createTestAuthority();
    const load = async (maySign: boolean): Promise<unknown> => {
      const { caCert, cert, key } = await authority.issue({ maySign });
      return await loadTlsIdentity(
        {
          caCert: await put("s-ca.pem", caCert),
          cert: await put("s.pem", cert),
          key: await put("s-key.pem", key),
        },
        { name: "security" },
      ).catch(String);
    };
    expect(await load(true)).toHaveProperty("cert");
    expect(await load(false)).toMatch(/s\.pem \(security\.cert\) .* lacks digitalSignature/);
  });

  it("uses the key that is the certificate's, of several in a file", async () => {
    for (const text of [`${other.key}${node.key}`, `${node.key}${other.key}`]) {
      const key = await put("keys.pem", text);
      const identity = await loadTlsIdentity({ ...good, key }, { name: "security", nowMs });
      expect(identity?.key).toBe(node.key);
    }
    const key = await put("keys.pem", `${other.key}${other.key}`);
    expect(await problemOf({ ...good, key })).toContain("is not the key of the certificate in");
  });

  it("refuses a certificate that is revoked, or below one that is, naming the list", async () => {
    const { serialNumber } = new X509Certificate(other.cert);
    const revoked = { serials: [formatSerial(serialNumber)], path: "/r.txt", setting: "x.revoked" };
    await expect(loadTlsIdentity(good, { name: "security", nowMs, revoked })).rejects.toThrow(
      `is revoked: its serial number ${formatSerial(serialNumber)} stands in /r.txt (x.revoked)`,
    );
    const others = { ...revoked, serials: ["5A"] };
    const identity = await loadTlsIdentity(good, { name: "security", nowMs, revoked: others });
    expect(identity?.revoked).toEqual(["5A"]);
  });
});
