import { connect as connectTls } from "node:tls";
import { once } from "node:events";
import { createTestAuthority } from "@damselfly/rpc/testing";
import type { ParentAddress, TlsIdentity } from "@damselfly/transport";
import { codeOf, readPiece, SyntheticSource } from "@damselfly/transport/conformance";
import { afterEach, describe, expect, it } from "vitest";
import { serveTcp, type TcpPieceServer } from "./serve-tcp.ts";
import { createTcpDownloader, type TcpDownloader } from "./tcp-downloader.ts";

const ANYWHERE = { ip: "127.0.0.1", port: 0 };
const authority = await createTestAuthority();
const node = await authority.issue();
const opened: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]();
});

const source = new SyntheticSource();
const request = source.add(0, { length: 1000 });

async function serve(tls: TlsIdentity | undefined, plain = false): Promise<TcpPieceServer> {
  const server = await serveTcp({ source, tls, plain, address: ANYWHERE });
  opened.push(server);
  return server;
}

function openDownloader(tls?: TlsIdentity): TcpDownloader {
  const downloader = createTcpDownloader({ tls, timeouts: { connectMs: 20_000 } });
  opened.push(downloader);
  return downloader;
}

function parentAt({ address }: TcpPieceServer, more: Partial<ParentAddress> = {}): ParentAddress {
  return { hostId: "parent", ip: "127.0.0.1", ports: { tcp: address.port }, ...more };
}

/** How many bytes came, or the code of the failure. */
async function outcomeOf(downloader: TcpDownloader, parent: ParentAddress): Promise<unknown> {
  const work = downloader.downloadPiece(parent, request).then((download) => readPiece(download));
  return work.catch(() => codeOf(work));
}

describe("who a parent is", () => {
  it("must be in its certificate, where a hostname is known", async () => {
    const server = await serve(await authority.issue({ dnsNames: ["d7y", "node-7"], ips: [] }));
    const child = openDownloader(node);
    const as = (hostname?: string): Promise<unknown> =>
      outcomeOf(child, parentAt(server, hostname === undefined ? {} : { hostname }));
    expect(await as("node-7")).toBe(1000);
    expect(await as("node-8")).toBe("ERR_PARENT_UNTRUSTED");
    expect(await as("node")).toBe("ERR_PARENT_UNTRUSTED");
    expect(await as()).toBe(1000);
    expect(await as("node-7")).toBe(1000);
  });

  it("is asked again for each name, though a session could be resumed", async () => {
    const tls = await authority.issue({ dnsNames: ["d7y", "node-7"] });
    const server = await serve(tls);
    const { port } = server.address;
    const child = createTcpDownloader({ tls: node, pool: { idleTimeoutMs: 1 } });
    opened.push(child);
    const named = parentAt(server, { hostname: "node-7" });
    for (let count = 0; count < 3; count++) {
      expect(await outcomeOf(child, named)).toBe(1000);
      await expect.poll(() => child.connectionCount).toBe(0);
    }
    expect(server.stats()).toMatchObject({ acceptedCount: 3, resumedCount: 2 });
    expect(child.stats()).toMatchObject({ dialledCount: 3, resumedCount: 2, failedCount: 0 });
    const otherwise = parentAt(server, { hostname: "node-8" });
    expect(await outcomeOf(child, otherwise)).toBe("ERR_PARENT_UNTRUSTED");
    // Somebody else has taken its place, whose key is not that of the session.
    await server[Symbol.asyncDispose]();
    const thief = await (await createTestAuthority()).issue({ dnsNames: ["d7y", "node-7"] });
    const place = { ...ANYWHERE, port };
    opened.push(await serveTcp({ source, tls: thief, plain: false, address: place }));
    expect(await outcomeOf(child, named)).toBe("ERR_PARENT_UNTRUSTED");
  });

  it("is not believed when another authority vouches for it, or nobody any more", async () => {
    const stranger = await (await createTestAuthority()).issue();
    const child = openDownloader(node);
    expect(await outcomeOf(child, parentAt(await serve(stranger)))).toBe("ERR_PARENT_UNTRUSTED");
    const yesterday = await authority.issue({ validUntil: new Date(Date.now() - 1000) });
    expect(await outcomeOf(child, parentAt(await serve(yesterday)))).toBe("ERR_PARENT_UNTRUSTED");
  });

  it("does not matter where the parent is known to show no certificate", async () => {
    const server = await serve(node, true);
    const child = openDownloader(node);
    expect(await outcomeOf(child, parentAt(server, { plain: true }))).toBe(1000);
    expect(await outcomeOf(child, parentAt(server))).toBe(1000);
    expect(child.connectionCount).toBe(2);
  });
});

describe("who a child is", () => {
  it.each<[string, () => Promise<TlsIdentity>]>([
    ["of another authority", async () => (await createTestAuthority()).issue()],
    ["out of date", () => authority.issue({ validUntil: new Date(Date.now() - 1000) })],
  ])("is checked: one that is %s sees its connection closed", async (_, issue) => {
    const server = await serve(node);
    const child = openDownloader({ ...(await issue()), caCert: authority.caCert });
    const requestCount = source.requestCount;
    const outcomes = ["ERR_PARENT_UNTRUSTED", "ERR_PARENT_UNREACHABLE"];
    expect(outcomes).toContain(await outcomeOf(child, parentAt(server)));
    expect(source.requestCount).toBe(requestCount);
    await expect.poll(() => server.stats().connectionCount).toBe(0);
  });

  it("must be shown: TLS without a certificate ends at once", async () => {
    const server = await serve(node);
    const socket = connectTls({
      port: server.address.port,
      ca: authority.caCert,
      checkServerIdentity: () => undefined,
    });
    const failing = once(socket, "error");
    socket.write(Buffer.alloc(90));
    socket.resume();
    expect(String((await failing)[0])).toMatch(/certificate required/);
    expect(server.requestCount).toBe(0);
  });

  it("is nobody where it comes without TLS, and only TLS is served, or the other way round", async () => {
    const nobody = openDownloader();
    expect(await outcomeOf(nobody, parentAt(await serve(node)))).toBe("ERR_PARENT_UNREACHABLE");
    const child = openDownloader(node);
    const plain = parentAt(await serve(undefined, true));
    expect(await outcomeOf(child, plain)).toBe("ERR_PARENT_UNREACHABLE");
    expect(await outcomeOf(nobody, plain)).toBe(1000);
  });

  it("must speak TLS 1.3 and this protocol", async () => {
    const server = await serve(node);
    const { caCert: ca, cert, key } = node;
    const base = { port: server.address.port, ca, cert, key, checkServerIdentity: () => undefined };
    for (const options of [{ maxVersion: "TLSv1.2" as const }, { ALPNProtocols: ["h2"] }]) {
      const socket = connectTls({ ...base, ...options });
      const [error] = await once(socket, "error");
      expect(String(error)).toMatch(/alert|protocol|reset|disconnected/i);
    }
  });
});

describe("certificates that cannot be used", () => {
  it("are named when a server starts, or a downloader is made", async () => {
    const broken = {
      ...node,
      key: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    };
    const starting = serveTcp({ source, tls: broken, plain: false, address: ANYWHERE });
    await expect(starting).rejects.toMatchObject({ code: "ERR_TLS_CONFIG" });
    const make = (): unknown => createTcpDownloader({ tls: { ...node, cert: "none" } });
    expect(make).toThrow(expect.objectContaining({ code: "ERR_TLS_CONFIG" }));
  });
});
