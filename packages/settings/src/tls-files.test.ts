import { X509Certificate } from "node:crypto";
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestAuthority, type TestAuthority } from "@damselfly/transport/testing";
import { formatSerial, type TlsIdentity } from "@damselfly/transport";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTlsFiles, type TlsFiles, type TlsFilesOptions } from "./tls-files.ts";

/** So long that only `look` looks. */
const NEVER_MS = 2 ** 30;
const DAY_MS = 86_400_000;

let dir: string;
let authority: TestAuthority;
let log: string[];
const opened: TlsFiles[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tls-files-"));
  authority = await createTestAuthority();
  log = [];
  await put(await authority.issue());
  await writeFile(join(dir, "revoked.txt"), "");
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

async function put(identity: TlsIdentity, into = dir): Promise<void> {
  await writeFile(join(into, "ca.pem"), identity.caCert);
  await writeFile(join(into, "node.pem"), identity.cert);
  await writeFile(join(into, "node-key.pem"), identity.key);
}

async function open(options: Partial<TlsFilesOptions> = {}): Promise<TlsFiles> {
  const at = (level: string) => (_: object, message: string) =>
    void log.push(`${level} ${message}`);
  const paths = {
    caCert: join(dir, "ca.pem"),
    cert: join(dir, "node.pem"),
    key: join(dir, "node-key.pem"),
  };
  const files = await openTlsFiles({
    sections: [
      { name: "security", paths, uses: ["server", "client"] },
      { name: "scheduler", paths: {}, uses: ["client"] },
    ],
    revoked: { path: join(dir, "revoked.txt"), setting: "security.revoked" },
    intervalMs: NEVER_MS,
    settleMs: NEVER_MS,
    logger: { info: at("info"), warn: at("warn"), error: at("error") },
    ...options,
  });
  opened.push(files);
  return files;
}

const serialOf = ({ cert }: TlsIdentity): string =>
  formatSerial(new X509Certificate(cert).serialNumber);
const current = (files: TlsFiles): TlsIdentity => files.source("security")!.current;

describe("openTlsFiles", () => {
  it("has an identity for each section that is given", async () => {
    const files = await open();
    expect(current(files).cert).toContain("BEGIN CERTIFICATE");
    expect(files.source("scheduler")).toBeUndefined();
    expect(files.certificates.map(({ setting }) => setting)).toEqual([
      "security.cert",
      "security.caCert",
    ]);
  });

  it("tells of its certificates what the files say now", async () => {
    const first = await authority.issue();
    await put(first);
    const files = await open();
    const serialOfOwn = (): string | undefined => files.certificates[0]?.serial;
    expect(serialOfOwn()).toBe(serialOf(first));
    expect(serialOfOwn()).toBe(serialOf(first));
    const second = await authority.issue();
    await put(second);
    await files.look();
    expect(serialOfOwn()).toBe(serialOf(second));
  });

  it("refuses a certificate that is on the list already, naming both files", async () => {
    const node = await authority.issue();
    await put(node);
    await writeFile(join(dir, "revoked.txt"), serialOf(node));
    await expect(open()).rejects.toMatchObject({
      code: "ERR_SETTINGS_TLS",
      message: expect.stringMatching(/node\.pem \(security\.cert\) is revoked: .*revoked\.txt/),
    });
  });

  it("takes a new set, tells who listens, and says so", async () => {
    const files = await open();
    let changes = 0;
    files.source("security")!.onChange(() => changes++);
    await files.look();
    expect(changes).toBe(0);
    const next = await authority.issue();
    await put(next);
    await files.look();
    expect(current(files).cert).toBe(next.cert);
    expect(changes).toBe(1);
    expect(log).toEqual([expect.stringMatching(/^info a new certificate is in use: .*node\.pem/)]);
    expect(files.reloads).toEqual({ taken: 1, refused: 0 });
  });

  it.each<[string, () => Promise<void>, RegExp]>([
    [
      "half of which is replaced",
      async () => writeFile(join(dir, "node.pem"), (await authority.issue()).cert),
      /node-key\.pem \(security\.key\) is not the key of/,
    ],
    [
      "that is written half",
      async () => writeFile(join(dir, "node.pem"), (await authority.issue()).cert.slice(0, 200)),
      /node\.pem \(security\.cert\) holds no certificate/,
    ],
    [
      "whose authorities are written half",
      async () => {
        const [ours, next] = [authority.caCert, (await createTestAuthority()).caCert];
        await writeFile(join(dir, "ca.pem"), `${ours}\n${next}`.slice(0, -100));
      },
      /ca\.pem \(security\.caCert\) is cut short: .* begin in it: 2, that are whole: 1\./,
    ],
    [
      "whose chain is written half",
      async () => {
        const { caCert, cert, key } = await (await authority.createIntermediate()).issue();
        await put({ caCert, cert: cert.slice(0, -100), key });
      },
      /node\.pem \(security\.cert\) is cut short/,
    ],
    [
      "whose chain ends with the first words of a certificate",
      async () => {
        const { caCert, cert, key } = await authority.issue();
        await put({ caCert, cert: `${cert}\n${caCert.slice(0, 20)}`, key });
      },
      /node\.pem \(security\.cert\) is cut short/,
    ],
    [
      "out of date",
      async () => put(await authority.issue({ validUntil: new Date(Date.now() - DAY_MS) })),
      /node\.pem \(security\.cert\) expired/,
    ],
    [
      "for another use",
      async () => put(await authority.issue({ usages: ["server"] })),
      /node\.pem \(security\.cert\) is not for this use: .*clientAuth/,
    ],
    [
      "of which a file is gone",
      () => unlink(join(dir, "ca.pem")),
      /ca\.pem \(security\.caCert\) cannot be read/,
    ],
  ])("refuses a set %s with one line, and stays with what was", async (_, spoil, message) => {
    const files = await open();
    const { cert } = current(files);
    await spoil();
    await files.look();
    expect(log).toEqual([]); // it may only be half done
    await files.look();
    await files.look();
    expect(log).toEqual([expect.stringMatching(message)]);
    expect(log[0]).toMatch(/^error .*What was in use stays in use$/);
    expect(current(files).cert).toBe(cert);
    expect(files.reloads).toEqual({ taken: 0, refused: 1 });
    await put(await authority.issue());
    await files.look();
    expect(log.slice(1)).toEqual([
      "info the files of security can be used again",
      expect.stringMatching(/^info a new certificate is in use/),
    ]);
  });

  it("says that files can be used again that were replaced one after the other", async () => {
    const files = await open();
    await put(await authority.issue({ validUntil: new Date(Date.now() - DAY_MS) }));
    await files.look();
    await files.look();
    expect(log).toEqual([expect.stringMatching(/expired/)]);
    const next = await authority.issue();
    await writeFile(join(dir, "node.pem"), next.cert);
    await files.look();
    await writeFile(join(dir, "node-key.pem"), next.key);
    await files.look();
    expect(log.slice(1)).toEqual([
      "info the files of security can be used again",
      expect.stringMatching(/^info a new certificate is in use/),
    ]);
  });

  it("says nothing of files that do not fit for a moment only", async () => {
    const files = await open({ settleMs: 1 });
    const next = await authority.issue();
    await writeFile(join(dir, "node.pem"), next.cert);
    await files.look();
    await writeFile(join(dir, "node-key.pem"), next.key);
    await expect.poll(() => current(files).cert).toBe(next.cert);
    expect(log.filter((line) => line.startsWith("error"))).toEqual([]);
  });

  it("takes the key that fits of two, whichever certificate is there", async () => {
    const [one, two] = await Promise.all([authority.issue(), authority.issue()]);
    await put({ ...one, key: `${one.key}${two.key}` });
    const files = await open();
    expect(current(files).key).toBe(one.key);
    await writeFile(join(dir, "node.pem"), two.cert);
    await files.look();
    expect(current(files)).toMatchObject({ cert: two.cert, key: two.key });
    expect(log.filter((line) => line.startsWith("error"))).toEqual([]);
  });

  it("hands on whom the list names, and whom no more when that has lasted", async () => {
    const files = await open({ settleMs: 20 });
    expect(current(files).revoked).toEqual([]);
    await writeFile(join(dir, "revoked.txt"), "5A # n3\n");
    await files.look();
    expect(current(files).revoked).toEqual(["5A"]);
    expect(files.revokedCount).toBe(1);
    expect(log).toEqual([expect.stringMatching(/lists 1 revoked certificates now$/)]);
    await writeFile(join(dir, "revoked.txt"), "# nobody\n");
    await files.look();
    await expect.poll(() => current(files).revoked, { timeout: 20_000 }).toEqual([]);
    expect(log.slice(1)).toEqual([
      expect.stringMatching(/^warn .*lists 0 .*, and 1 no more, which are trusted again$/),
    ]);
  });

  it("lets nobody in by a list that is being written, or was cut short", async () => {
    const path = join(dir, "revoked.txt");
    const whole = "5A  # n3\n5B  # n4\n5C  # n5\n";
    await writeFile(path, whole);
    const files = await open();
    // As a copy goes on, a line at a time, looked at again and again; and then with something new.
    for (const length of [0, 9, 18]) {
      await writeFile(path, whole.slice(0, length));
      for (let count = 0; count < 3; count += 1) await files.look();
      expect(current(files).revoked?.toSorted()).toEqual(["5A", "5B", "5C"]);
    }
    await writeFile(path, `${whole}5D  # n6\n`);
    await files.look();
    expect(current(files).revoked).toEqual(["5A", "5B", "5C", "5D"]);
    // As it stays where the disk is full: nothing at all, or the half of a line. Whom it names anew counts all the same.
    for (const text of ["", "5E # n7\n5"]) {
      await writeFile(path, text);
      for (let count = 0; count < 3; count += 1) await files.look();
      expect(current(files).revoked).toEqual(expect.arrayContaining(["5A", "5B", "5C", "5D"]));
    }
    expect(current(files).revoked).toContain("5E");
    const cutShort = (count: number): unknown =>
      expect.stringMatching(
        `^error .*: ${count} that were on it are missing, and its last line has no end, as if`,
      );
    // The copy that had just begun had none of the three.
    expect(log.filter((line) => line.startsWith("error"))).toEqual([cutShort(3), cutShort(4)]);
  });

  it("keeps to a list that cannot be read any more", async () => {
    await writeFile(join(dir, "revoked.txt"), "5A");
    const files = await open();
    await writeFile(join(dir, "revoked.txt"), "nonsense");
    await files.look();
    await files.look();
    await files.look();
    expect(current(files).revoked).toEqual(["5A"]);
    expect(log).toEqual([expect.stringMatching(/^error .*revoked\.txt.*line 1/)]);
  });

  it("hands on a list by which it is revoked itself, and says so", async () => {
    const files = await open();
    await writeFile(join(dir, "revoked.txt"), `5A\n${serialOf(current(files))}\n`);
    await files.look();
    await files.look();
    expect(current(files).revoked).toHaveLength(2);
    expect(log.at(-1)).toMatch(/^error .*node\.pem \(security\.cert\) is revoked/);
  });

  it("hands on a list though its own files cannot be used at this moment", async () => {
    const files = await open();
    const { cert } = current(files);
    await writeFile(join(dir, "node.pem"), "nonsense");
    await writeFile(join(dir, "revoked.txt"), "5A");
    await files.look();
    expect(current(files)).toMatchObject({ cert, revoked: ["5A"] });
  });

  it("notices by itself what the system tells it, or the clock", async () => {
    for (const intervalMs of [NEVER_MS, 20]) {
      const files = await open({ intervalMs });
      const next = await authority.issue();
      await put(next);
      await expect.poll(() => current(files).cert, { timeout: 15_000 }).toBe(next.cert);
    }
  });

  it("notices a link that leads elsewhere from one moment to the next, as in Kubernetes", async () => {
    const [one, two] = [join(dir, "one"), join(dir, "two")];
    const next = await authority.issue();
    await mkdir(one);
    await mkdir(two);
    await put(await authority.issue(), one);
    await put(next, two);
    await symlink(one, join(dir, "data"));
    for (const name of ["ca.pem", "node.pem", "node-key.pem"]) {
      await unlink(join(dir, name));
      await symlink(join("data", name), join(dir, name));
    }
    const files = await open();
    await symlink(two, join(dir, "data.next"));
    await rename(join(dir, "data.next"), join(dir, "data"));
    await expect.poll(() => current(files).cert, { timeout: 15_000 }).toBe(next.cert);
    expect(log.filter((line) => line.startsWith("error"))).toEqual([]);
  });

  it("says ahead that a certificate runs out, and again after a while", async () => {
    let nowMs = Date.now();
    const soon = new Date(nowMs + 9 * DAY_MS);
    await put(
      await authority.issue({ validFrom: new Date(nowMs - 11 * DAY_MS), validUntil: soon }),
    );
    const files = await open({ now: () => nowMs });
    const ofCert = (): string[] => log.filter((line) => line.includes("security.cert "));
    expect(ofCert()).toEqual([]);
    nowMs += 3 * DAY_MS;
    // The authority of tests lives for two hours: it is its time to be named, too.
    await files.look();
    await files.look();
    expect(ofCert()).toEqual([
      expect.stringMatching(/^warn the certificate .* runs out in [56] days/),
    ]);
    nowMs += DAY_MS;
    await files.look();
    expect(ofCert()).toHaveLength(2);
    nowMs = soon.getTime() + 3 * 3_600_000;
    await files.look();
    expect(ofCert().at(-1)).toMatch(/^error the certificate .* ran out 3 hours ago: nobody lets/);
  });

  it("looks at nothing any more once it is disposed of", async () => {
    const files = await open({ intervalMs: 1 });
    const { cert } = current(files);
    await files[Symbol.asyncDispose]();
    await put(await authority.issue());
    await files.look();
    expect(current(files).cert).toBe(cert);
  });
});
