import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { collect, openOriginFixture } from "../testing/origin-fixture.ts";
import { seededContent, type Behaviour } from "../testing/origin-server.ts";

const content = seededContent(200_000);

/** libuv may show a reset that comes right behind data as an orderly end. */
const RESET = expect.stringMatching(/^ERR_ORIGIN_(TRUNCATED|UNREACHABLE)$/);

describe("Origin.readAll", () => {
  it.each<[string, Behaviour, number | undefined]>([
    ["with a length", { content }, 200_000],
    ["in chunks", { content, chunked: true }, undefined],
    ["until the connection ends", { content, chunked: "close" }, undefined],
    ["that is empty", { content: new Uint8Array(0) }, 0],
    ["of an origin without ranges", { content, ranges: false }, 200_000],
  ])("reads a body %s", async (_what, behaviour, contentLength) => {
    await using fixture = await openOriginFixture({ files: { "/file": behaviour } });
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    expect(body.stat.contentLength).toBe(contentLength);
    expect((await collect(body.content)).equals(behaviour.content ?? Buffer.of())).toBe(true);
  });

  it("has the version that stat has", async () => {
    await using fixture = await openOriginFixture({
      files: { "/file": { content, ranges: false } },
    });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const stat = await fixture.origin.stat(request);
    await using body = await fixture.origin.readAll(request);
    expect(body.stat.contentVersion).toBe(stat.contentVersion);
  });

  it("hands an encoded body on as it was sent, and says so", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { content, gzip: true } } });
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    expect(body.stat.responseHeader["content-encoding"]).toBe("gzip");
    expect(gunzipSync(await collect(body.content)).equals(content)).toBe(true);
  });

  it.each<[string, Behaviour, string]>([
    ["too short", { content, announcedExtraBytes: 1 }, "ERR_ORIGIN_TRUNCATED"],
    ["cut off", { content, cutAfterBytes: 70_000 }, "ERR_ORIGIN_TRUNCATED"],
    [
      "cut off in chunks",
      { content, chunked: true, cutAfterBytes: 70_000 },
      "ERR_ORIGIN_TRUNCATED",
    ],
    ["reset", { content, cutAfterBytes: 70_000, cut: "reset" }, RESET],
  ])("fails when the body is %s", async (_what, behaviour, code) => {
    await using fixture = await openOriginFixture({ files: { "/file": behaviour } });
    const reading = (async () => {
      await using body = await fixture.origin.readAll({
        url: `${fixture.server.url}/file`,
        header: {},
      });
      return await collect(body.content);
    })();
    await expect(reading).rejects.toMatchObject({ code });
  });

  it("ends a body where its announced length ends", async () => {
    await using fixture = await openOriginFixture({
      files: { "/file": { content, announcedExtraBytes: -50_000 } },
    });
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    expect((await collect(body.content)).equals(content.subarray(0, 150_000))).toBe(true);
  });

  it("takes no partial or missing content for the file", async () => {
    await using fixture = await openOriginFixture({
      files: { "/part": { status: 206 }, "/none": { status: 204 } },
    });
    for (const path of ["/part", "/none"]) {
      const reading = fixture.origin.readAll({ url: fixture.server.url + path, header: {} });
      await expect(reading).rejects.toMatchObject({ code: "ERR_ORIGIN_STATUS" });
    }
  });

  it("fails what still runs when it is disposed, and all that comes after", async () => {
    const never = new Promise<void>(() => {});
    await using fixture = await openOriginFixture({
      files: { "/file": { content, beforeChunk: (sent) => (sent > 0 ? never : undefined) } },
    });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    await using body = await fixture.origin.readAll(request);
    await fixture.origin[Symbol.asyncDispose]();
    await expect(collect(body.content)).rejects.toThrow("Cannot read");
    await expect(fixture.origin.readAll(request)).rejects.toMatchObject({
      code: "ERR_ORIGIN_UNREACHABLE",
    });
  });
});
