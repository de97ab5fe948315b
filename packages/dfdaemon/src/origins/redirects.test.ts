import { describe, expect, it } from "vitest";
import { collect, openOriginFixture } from "../testing/origin-fixture.ts";
import { openOriginServer, seededContent } from "../testing/origin-server.ts";
import { createTestAuthority } from "../testing/test-certificates.ts";

const content = seededContent(10_000);

describe("Origin redirects", () => {
  it.each([301, 302, 303, 307, 308])("follows %i, relative or not", async (status) => {
    await using fixture = await openOriginFixture({ files: { "/real/file": { content } } });
    fixture.server.set("/start", { redirectTo: "real/step", status });
    fixture.server.set("/real/step", { redirectTo: `${fixture.server.url}/real/file`, status });
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/start`,
      header: {},
    });
    expect((await collect(body.content)).equals(content)).toBe(true);
  });

  it("keeps credentials from another host, port or scheme, and sends them within one", async () => {
    const authority = createTestAuthority();
    await using target = await openOriginServer({ files: { "/file": { content } } });
    await using secure = await openOriginServer({ tls: authority.issue() });
    await using fixture = await openOriginFixture(
      {},
      { caCert: authority.caCert, requestHeader: { "Private-Token": "t" } },
    );
    fixture.server.set("/start", { redirectTo: "/within" });
    fixture.server.set("/within", { redirectTo: `${target.url}/file` });
    secure.set("/start", { redirectTo: `${target.url}/file` });
    const header = {
      Authorization: "Bearer x",
      Cookie: "c",
      "X-Api-Key": "k",
      "X-Plain": "p",
      Accept: "*/*",
    };
    const credentials = {
      authorization: "Bearer x",
      cookie: "c",
      "x-api-key": "k",
      "private-token": "t",
    };

    await fixture.origin.stat({ url: `${fixture.server.url}/start`, header });
    await fixture.origin.stat({ url: `${secure.url}/start`, header });
    for (const request of [...fixture.server.requests, ...secure.requests])
      expect(request.header).toMatchObject(credentials);
    expect(target.requests).toHaveLength(2);
    for (const request of target.requests) {
      expect(request.header).toMatchObject({
        "x-plain": "p",
        accept: "*/*",
        "user-agent": "damselfly/test",
      });
      for (const name of Object.keys(credentials)) expect(request.header).not.toHaveProperty(name);
      expect(request.header.host).toBe(`127.0.0.1:${target.port}`);
    }
  });

  it("does not bring credentials back when a chain returns to the first host", async () => {
    await using other = await openOriginServer();
    await using fixture = await openOriginFixture({ files: { "/file": { content } } });
    fixture.server.set("/start", { redirectTo: `${other.url}/back` });
    other.set("/back", { redirectTo: `${fixture.server.url}/file` });
    const url = `${fixture.server.url.replace("//", "//user:password@")}/start`;
    await fixture.origin.stat({ url, header: {} });
    expect(fixture.server.requestsTo("/start")[0]?.header).toHaveProperty("authorization");
    expect(fixture.server.requestsTo("/file")[0]?.header).not.toHaveProperty("authorization");
  });

  it("names the chain of a loop, without its secrets", async () => {
    await using fixture = await openOriginFixture();
    const { url } = fixture.server;
    fixture.server.set("/a", { redirectTo: "/b?sig=secret" });
    fixture.server.set("/b", { redirectTo: "/a" });
    await expect(fixture.origin.stat({ url: `${url}/a`, header: {} })).rejects.toMatchObject({
      code: "ERR_ORIGIN_REDIRECT_LOOP",
      message: `Cannot read ${url}/a: redirects lead back to where they were: ${url}/a -> ${url}/b?sig=… -> ${url}/a`,
    });
  });

  it("follows ten, not eleven", async () => {
    await using fixture = await openOriginFixture({ files: { "/0": { content } } });
    for (let step = 1; step <= 11; step += 1)
      fixture.server.set(`/${step}`, { redirectTo: `/${step - 1}` });
    await fixture.origin.stat({ url: `${fixture.server.url}/10`, header: {} });
    await expect(
      fixture.origin.stat({ url: `${fixture.server.url}/11`, header: {} }),
    ).rejects.toThrow("more than 10 redirects");
  });

  it("does not follow out of HTTP", async () => {
    await using fixture = await openOriginFixture();
    fixture.server.set("/file", { redirectTo: "file:///etc/passwd" });
    fixture.server.set("/odd", { redirectTo: "http://[" });
    for (const path of ["/file", "/odd"]) {
      const stat = fixture.origin.stat({ url: fixture.server.url + path, header: {} });
      await expect(stat).rejects.toMatchObject({ code: "ERR_ORIGIN_URL" });
    }
  });

  it("takes a redirect without a target for a failure", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { status: 301 } } });
    const stat = fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} });
    await expect(stat).rejects.toMatchObject({ code: "ERR_ORIGIN_STATUS", statusCode: 301 });
  });

  it.each([
    [400, "ExpiredToken"],
    [403, "Forbidden"],
    [404, "Not Found"],
  ])(
    "reads the ranges of a file where it was found, until that target expires with %i",
    async (status, reason) => {
      await using mirror = await openOriginServer({
        files: { "/1": { content }, "/2": { content } },
      });
      await using fixture = await openOriginFixture();
      let current = "/1";
      fixture.server.set("/file", () => ({ redirectTo: mirror.url + current, status: 307 }));
      const request = { url: `${fixture.server.url}/file`, header: {} };
      const expected = await fixture.origin.stat(request);
      const read = async (): Promise<Buffer> => {
        await using body = await fixture.origin.readRange(
          request,
          { offset: 0, length: 100 },
          expected,
        );
        return await collect(body.content);
      };
      await read();
      await read();
      expect(fixture.server.requests).toHaveLength(1);

      current = "/2";
      mirror.set("/1", { status, reason });
      expect((await read()).equals(content.subarray(0, 100))).toBe(true);
      expect(fixture.server.requests).toHaveLength(2);
      await read();
      expect(fixture.server.requests).toHaveLength(2);
      expect(fixture.waits).toEqual([]);
    },
  );

  it.each([408, 425, 429, 500, 503])(
    "pauses before it asks anew when the target it was sent to answers %i",
    async (status) => {
      await using mirror = await openOriginServer({ files: { "/file": { content } } });
      await using fixture = await openOriginFixture();
      fixture.server.set("/file", { redirectTo: `${mirror.url}/file` });
      const request = { url: `${fixture.server.url}/file`, header: {} };
      const expected = await fixture.origin.stat(request);
      mirror.set("/file", (_, earlierCount) => (earlierCount === 1 ? { status } : { content }));
      const range = { offset: 0, length: 100 };
      await using body = await fixture.origin.readRange(request, range, expected);
      expect((await collect(body.content)).equals(content.subarray(0, 100))).toBe(true);
      expect(fixture.waits).toHaveLength(1);
    },
  );

  it("starts over when the host it was sent to is gone", async () => {
    const gone = await openOriginServer({ files: { "/file": { content } } });
    await using fixture = await openOriginFixture({ files: { "/direct": { content } } });
    fixture.server.set("/file", { redirectTo: `${gone.url}/file` });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = await fixture.origin.stat(request);
    await gone[Symbol.asyncDispose]();
    fixture.server.set("/file", { redirectTo: "/direct" });
    await using body = await fixture.origin.readRange(request, { offset: 5, length: 5 }, expected);
    expect((await collect(body.content)).equals(content.subarray(5, 10))).toBe(true);
  });
});
