import { describe, expect, it } from "vitest";
import { openOriginFixture } from "../testing/origin-fixture.ts";
import { seededContent, type Behaviour } from "../testing/origin-server.ts";
import { contentVersion } from "./content-version.ts";

const content = seededContent(5000);

describe("Origin.stat", () => {
  it("asks only for the header when that tells everything", async () => {
    const etag = '"v1"';
    await using fixture = await openOriginFixture({ files: { "/file": { content, etag } } });
    const stat = await fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} });
    expect(stat).toMatchObject({ contentLength: 5000, etag, rangeable: true, statusCode: 200 });
    expect(stat.lastModified).toBe("Tue, 01 Oct 2024 10:00:00 GMT");
    expect(stat.contentVersion).toBe(contentVersion(stat));
    expect(fixture.server.requests.map(({ method }) => method)).toEqual(["HEAD"]);
    expect(fixture.server.bodyBytes()).toBe(0);
  });

  it("says the same by GET where HEAD is not allowed", async () => {
    await using fixture = await openOriginFixture({
      files: { "/a": { content }, "/b": { content, head: false } },
    });
    const byHead = await fixture.origin.stat({ url: `${fixture.server.url}/a`, header: {} });
    const byGet = await fixture.origin.stat({ url: `${fixture.server.url}/b`, header: {} });
    const date = expect.any(String);
    expect(byGet).toEqual({ ...byHead, responseHeader: { ...byHead.responseHeader, date } });
    expect(fixture.server.bodyBytes("/b")).toBeLessThan(100); // one byte, and the page that comes with 405
  });

  it("sees that ranges are ignored, and closes the body", async () => {
    const large = seededContent(64 * 1024 * 1024);
    await using fixture = await openOriginFixture({
      files: { "/file": { content: large, ranges: false } },
    });
    const stat = await fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} });
    expect(stat).toMatchObject({ contentLength: large.byteLength, rangeable: false });
    expect(fixture.server.bodyBytes()).toBeLessThan(large.byteLength / 2);
  });

  it("knows no length where the origin does not", async () => {
    await using fixture = await openOriginFixture({
      files: { "/file": { content, ranges: false, chunked: true } },
    });
    const stat = await fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} });
    expect(stat).toMatchObject({ contentLength: undefined, rangeable: false });
    expect(stat.responseHeader["content-length"]).toBeUndefined();
  });

  it("finds a file empty whose first byte cannot be had", async () => {
    await using fixture = await openOriginFixture({
      files: { "/empty": { content: new Uint8Array(0) } },
    });
    const stat = await fixture.origin.stat({ url: `${fixture.server.url}/empty`, header: {} });
    expect(stat.contentLength).toBe(0);
    expect(
      fixture.server.requests.map(({ method, statusCode }) => `${method} ${statusCode}`),
    ).toEqual(["HEAD 200", "GET 416", "GET 200"]);
  });

  const now = new Date().toUTCString();
  it.each<[string, Pick<Behaviour, "etag" | "lastModified" | "header">]>([
    ["nothing", { etag: false, lastModified: false }],
    ["a weak ETag", { etag: 'W/"a"', lastModified: false }],
    ["a date of this second", { etag: false, lastModified: now, header: { date: now } }],
  ])("does not call an origin rangeable that sends %s to tell versions apart", async (_, sent) => {
    await using fixture = await openOriginFixture({ files: { "/file": { content, ...sent } } });
    const stat = await fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} });
    expect(stat).toMatchObject({ contentLength: 5000, rangeable: false });
  });

  it.each([401, 403, 404, 410])("fails at once with what the origin said: %i", async (status) => {
    const header = { "x-why": "because", "set-cookie": "session=1" };
    await using fixture = await openOriginFixture({
      files: { "/file": { status, reason: "So It Is", header } },
    });
    const error = await fixture.origin
      .stat({ url: `${fixture.server.url}/file?token=s3cret`, header: {} })
      .catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: "ERR_ORIGIN_STATUS",
      statusCode: status,
      reason: "So It Is",
      responseHeader: { "x-why": "because" },
      message: `Cannot read ${fixture.server.url}/file?token=…: origin answered ${status} So It Is`,
    });
    expect(error).not.toHaveProperty("responseHeader.set-cookie");
    expect(fixture.waits).toEqual([]);
    expect(fixture.server.requests).toHaveLength(2);
  });

  it("passes headers and credentials on, and those of the URL as an Authorization field", async () => {
    await using fixture = await openOriginFixture(
      { files: { "/file": { content } } },
      { requestHeader: { "X-Site": "berlin", "X-Team": "below" } },
    );
    const url = `${fixture.server.url.replace("//", "//us%40er:p%3Ass@")}/file`;
    await fixture.origin.stat({
      url,
      header: { "X-Team": "red", Range: "bytes=7-9", "If-None-Match": "*" },
    });
    const [request] = fixture.server.requests;
    expect(request?.header).toMatchObject({
      "x-site": "berlin",
      "x-team": "red",
      "user-agent": "damselfly/test",
      "accept-encoding": "identity",
      authorization: `Basic ${Buffer.from("us@er:p:ss").toString("base64")}`,
    });
    expect(request?.header).not.toHaveProperty("range");
    expect(request?.header).not.toHaveProperty("if-none-match");
  });

  it.each(["no url", "ftp://host/file", "file:///etc/passwd"])("refuses %s", async (url) => {
    await using fixture = await openOriginFixture();
    await expect(fixture.origin.stat({ url, header: {} })).rejects.toMatchObject({
      code: "ERR_ORIGIN_URL",
    });
  });

  it("refuses a header that cannot be sent", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { content } } });
    const stat = fixture.origin.stat({
      url: `${fixture.server.url}/file`,
      header: { "bad name": "x" },
    });
    await expect(stat).rejects.toMatchObject({ code: "ERR_ORIGIN_URL" });
  });
});
