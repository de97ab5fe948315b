import { EventEmitter, once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { collect, openOriginFixture, portOf } from "../testing/origin-fixture.ts";
import { openOriginServer, seededContent } from "../testing/origin-server.ts";
import { openProxyServer } from "../testing/proxy-server.ts";
import { createTestAuthority } from "../testing/test-certificates.ts";
import { openHttpOrigin, type HttpOriginOptions } from "./http-origin.ts";
import type { OriginRequest } from "./origin.ts";

const content = seededContent(100_000);
const authority = createTestAuthority();

async function read(
  url: string,
  request: Partial<OriginRequest> = {},
  options: Partial<HttpOriginOptions> = {},
): Promise<Buffer> {
  await using origin = openHttpOrigin({ userAgent: "test", ...options });
  await using body = await origin.readAll({ url, header: {}, ...request });
  return await collect(body.content);
}

describe("Origin over TLS", () => {
  it("trusts a private authority named in the settings or with the request", async () => {
    await using server = await openOriginServer({
      tls: authority.issue(),
      files: { "/file": { content } },
    });
    const url = `${server.url}/file`;
    expect((await read(url, { caCert: authority.caCert })).equals(content)).toBe(true);
    expect((await read(url, {}, { caCert: authority.caCert })).equals(content)).toBe(true);
    const both = createTestAuthority("other").caCert + authority.caCert;
    expect((await read(url, { caCert: both })).equals(content)).toBe(true);
  });

  it("refuses what it does not trust, and says what to do", async () => {
    await using server = await openOriginServer({
      tls: authority.issue(),
      files: { "/file": { content } },
    });
    for (const request of [{}, { caCert: createTestAuthority("other").caCert }]) {
      await expect(read(`${server.url}/file`, request)).rejects.toMatchObject({
        code: "ERR_ORIGIN_TLS",
        message: expect.stringMatching(
          /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT.*--ca-cert FILE.*--insecure/,
        ),
      });
    }
    expect(server.requests).toEqual([]);
  });

  it("goes unchecked only where told to, and not with another request's word", async () => {
    await using server = await openOriginServer({
      tls: authority.issue({ names: ["elsewhere"] }),
      files: { "/file": { content } },
    });
    await using origin = openHttpOrigin({ userAgent: "test" });
    const request = { url: `${server.url}/file`, header: {} };
    await using body = await origin.readAll({ ...request, insecure: true });
    expect((await collect(body.content)).equals(content)).toBe(true);
    await expect(origin.readAll(request)).rejects.toMatchObject({ code: "ERR_ORIGIN_TLS" });
    expect((await read(`${server.url}/file`, {}, { insecure: true })).equals(content)).toBe(true);
    await expect(
      read(`${server.url}/file`, { insecure: false }, { insecure: true }),
    ).rejects.toMatchObject({ code: "ERR_ORIGIN_TLS" });
  });

  const past = new Date(Date.now() - 1000);
  const future = new Date(Date.now() + 1_000_000);
  it.each([
    ["expired", { notAfter: past }, "has expired"],
    ["not valid yet", { notBefore: future }, "not valid yet"],
    ["for another name", { names: ["elsewhere"] }, "for other names"],
  ])("refuses a certificate that is %s", async (_what, options, message) => {
    await using server = await openOriginServer({
      tls: authority.issue(options),
      files: { "/file": { content } },
    });
    const reading = read(`${server.url}/file`, { caCert: authority.caCert });
    await expect(reading).rejects.toMatchObject({
      code: "ERR_ORIGIN_TLS",
      message: expect.stringContaining(message),
    });
  });

  it("asks whether TLS is spoken where it is not", async () => {
    await using server = await openOriginServer({ files: { "/file": { content } } });
    const reading = read(`https://127.0.0.1:${server.port}/file`);
    await expect(reading).rejects.toMatchObject({
      code: "ERR_ORIGIN_TLS",
      message: expect.stringContaining("is it https"),
    });
  });

  it.each(["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])(
    "refuses a CA certificate that is none: %j",
    async (caCert) => {
      await expect(read("https://127.0.0.1:1/", { caCert })).rejects.toMatchObject({
        code: "ERR_ORIGIN_TLS",
      });
    },
  );

  it("keeps connections for a bounded number of trusts, and lets running requests of a retired one end", async () => {
    const release = new EventEmitter();
    const held = once(release, "now").then(() => {});
    await using fixture = await openOriginFixture({
      files: {
        "/held": { content, beforeChunk: (sent) => (sent > 0 ? held : undefined) },
        "/file": { content },
      },
    });
    const { origin, server } = fixture;
    await using body = await origin.readAll({ url: `${server.url}/held`, header: {} });
    for (let index = 0; index < 20; index += 1) {
      const { caCert } = createTestAuthority(`CA ${index}`);
      await using other = await origin.readAll({ url: `${server.url}/file`, header: {}, caCert });
      await collect(other.content);
    }
    release.emit("now");
    expect((await collect(body.content)).equals(content)).toBe(true);
  });
});

describe("Origin through proxies", () => {
  it("asks a proxy for plain HTTP by URL and tunnels HTTPS, with its credentials", async () => {
    const authorization = `Basic ${Buffer.from("pat:s p").toString("base64")}`;
    await using proxyServer = await openProxyServer({ authorization });
    await using plain = await openOriginServer({ files: { "/file": { content } } });
    await using secure = await openOriginServer({
      tls: authority.issue(),
      files: { "/file": { content } },
    });
    const withUser = proxyServer.url.replace("//", "//pat:s%20p@");
    const options = {
      proxy: { httpProxy: withUser, httpsProxy: withUser },
      caCert: authority.caCert,
    };
    expect((await read(`${plain.url}/file`, {}, options)).equals(content)).toBe(true);
    expect((await read(`${secure.url}/file`, {}, options)).equals(content)).toBe(true);
    expect(proxyServer.requests).toEqual([
      `GET ${plain.url}/file`,
      `CONNECT 127.0.0.1:${secure.port}`,
    ]);
    for (const { header } of [...plain.requests, ...secure.requests])
      expect(header).not.toHaveProperty("proxy-authorization");
  });

  it("reports a proxy that refuses, without its password", async () => {
    await using proxyServer = await openProxyServer({ authorization: "Basic other" });
    await using secure = await openOriginServer({ tls: authority.issue() });
    await using plain = await openOriginServer();
    const proxy = proxyServer.url.replace("//", "//pat:hidden@");
    const options = { proxy: { httpProxy: proxy, httpsProxy: proxy } };
    for (const url of [plain.url, secure.url]) {
      const error: unknown = await read(url, {}, options).catch((cause: unknown) => cause);
      expect(String(error)).toContain("407");
      expect(String(error)).toContain(`proxy ${proxyServer.url}`);
      expect(String(error)).not.toContain("hidden");
    }
  });

  it("reports a proxy that breaks off, instead of asking it again and again", async () => {
    let connectionCount = 0;
    const proxyServer = createServer((socket) => {
      connectionCount += 1;
      socket.on("error", () => {});
      socket.once("data", () => socket.end());
    }).listen(0, "127.0.0.1");
    await once(proxyServer, "listening");
    const httpsProxy = `http://127.0.0.1:${portOf(proxyServer)}`;
    const reading = read("https://127.0.0.1/file", {}, { proxy: { httpsProxy } });
    await expect(reading).rejects.toMatchObject({
      code: "ERR_ORIGIN_UNREACHABLE",
      message: expect.stringContaining(`through proxy ${httpsProxy}/: the proxy broke off`),
    });
    expect(connectionCount).toBe(1);
    proxyServer.close();
  });

  it("goes straight where NO_PROXY says so, and checks the origin's certificate through a tunnel too", async () => {
    await using proxyServer = await openProxyServer();
    await using plain = await openOriginServer({ files: { "/file": { content } } });
    await using secure = await openOriginServer({ tls: authority.issue() });
    const proxy = { httpProxy: proxyServer.url, httpsProxy: proxyServer.url };
    await read(`${plain.url}/file`, {}, { proxy: { ...proxy, noProxy: "127.0.0.0/8" } });
    expect(proxyServer.requests).toEqual([]);
    await expect(read(secure.url, {}, { proxy })).rejects.toMatchObject({ code: "ERR_ORIGIN_TLS" });
    expect(proxyServer.requests).toHaveLength(1);
  });

  it("refuses a proxy it cannot speak to", async () => {
    const reading = read("http://127.0.0.1:1/", {}, { proxy: { httpProxy: "socks5://host:1" } });
    await expect(reading).rejects.toMatchObject({ code: "ERR_ORIGIN_URL" });
  });
});
