import { createServer } from "node:net";
import { once } from "node:events";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collect, openOriginFixture, portOf } from "../testing/origin-fixture.ts";
import { seededContent, type Behaviour } from "../testing/origin-server.ts";
import { openHttpOrigin } from "./http-origin.ts";

const content = seededContent(200_000);

/** Reads `offset … offset + length` after a stat, while the origin behaves first so and then so. */
async function readAfter(
  first: Behaviour,
  then: Behaviour,
  range: { offset: number; length: number } = { offset: 100, length: 1000 },
): Promise<Buffer> {
  await using fixture = await openOriginFixture({ files: { "/file": first } });
  const request = { url: `${fixture.server.url}/file`, header: {} };
  const expected = await fixture.origin.stat(request);
  fixture.server.set("/file", then);
  await using body = await fixture.origin.readRange(request, range, expected);
  return await collect(body.content);
}

describe("Origin.readRange", () => {
  it("yields exactly the bytes of any range", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { content } } });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = await fixture.origin.stat(request);
    const ranges = fc
      .tuple(fc.nat(content.byteLength - 1), fc.nat(content.byteLength))
      .map(([offset, length]) => ({
        offset,
        length: Math.max(1, Math.min(length, content.byteLength - offset)),
      }));
    await fc.assert(
      fc.asyncProperty(ranges, async (range) => {
        await using body = await fixture.origin.readRange(request, range, expected);
        const bytes = await collect(body.content);
        expect(bytes.equals(content.subarray(range.offset, range.offset + range.length))).toBe(
          true,
        );
        expect(body.stat).toMatchObject({
          contentLength: content.byteLength,
          contentVersion: expected.contentVersion,
        });
      }),
      { numRuns: 50 },
    );
    expect(new Set(fixture.server.requests.map(({ header }) => header["if-range"]))).toEqual(
      new Set([undefined, expected.etag]),
    );
  });

  it("reads many ranges at once over a few connections", async () => {
    await using fixture = await openOriginFixture(
      { files: { "/file": { content } } },
      { limits: { connectionsPerOrigin: 4 } },
    );
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = await fixture.origin.stat(request);
    const offsets = Array.from({ length: 40 }, (_, index) => index * 5000);
    const parts = await Promise.all(
      offsets.map(async (offset) => {
        await using body = await fixture.origin.readRange(
          request,
          { offset, length: 5000 },
          expected,
        );
        return await collect(body.content);
      }),
    );
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    expect(fixture.server.bodyBytes()).toBe(content.byteLength);
  });

  it.each<[string, Behaviour, Behaviour]>([
    ["another ETag", { content, etag: '"a"' }, { content, etag: '"b"' }],
    ["another weak ETag", { content, etag: 'W/"a"' }, { content, etag: 'W/"b"' }],
    [
      "another date",
      { content, etag: false },
      { content, etag: false, lastModified: "Wed, 02 Oct 2024 10:00:00 GMT" },
    ],
    ["another length", { content, etag: '"a"' }, { content: content.subarray(1), etag: '"a"' }],
    [
      "an end before the range",
      { content },
      { content: content.subarray(0, 50), etag: '"200000"' },
    ],
    [
      "another ETag and no ranges",
      { content, etag: '"a"' },
      { content, etag: '"b"', ranges: false },
    ],
    [
      "another ETag, If-Range ignored",
      { content, etag: '"a"' },
      { content, status: 206, header: { etag: '"b"', "content-range": "bytes 100-1099/200000" } },
    ],
    [
      "an ETag that has become weak",
      { content, etag: '"a"' },
      { content, status: 206, header: { etag: 'W/"a"', "content-range": "bytes 100-1099/200000" } },
    ],
    [
      "the same ETag and another date",
      { content, etag: '"a"' },
      { content, etag: '"a"', lastModified: "Wed, 02 Oct 2024 10:00:00 GMT" },
    ],
    [
      "another total in Content-Range",
      { content },
      { status: 206, header: { etag: '"200000"', "content-range": "bytes 100-1099/200001" } },
    ],
    [
      "a total in Content-Range that is that of the range",
      { content },
      { status: 206, header: { etag: '"200000"', "content-range": "bytes 100-1099/1000" } },
    ],
  ])("notices a file that changed: %s", async (_what, first, then) => {
    await expect(readAfter(first, then)).rejects.toMatchObject({ code: "ERR_ORIGIN_CHANGED" });
  });

  it.each<[string, Behaviour]>([
    ["all of the file", { content, ranges: false }],
    ["all of the file without a length", { content, ranges: false, chunked: true }],
    ["another range", { status: 206, header: { "content-range": "bytes 0-999/200000" } }],
    ["no Content-Range", { status: 206 }],
    [
      "several parts",
      { status: 206, header: { "content-type": "multipart/byteranges; boundary=x" } },
    ],
  ])("refuses an answer that is not the range: %s", async (_what, then) => {
    await expect(readAfter({ content }, then)).rejects.toMatchObject({
      code: "ERR_ORIGIN_NO_RANGES",
    });
  });

  const contentRange = { "content-range": "bytes 100-1099/200000", "content-length": 1000 };
  const part = content.subarray(100, 1100);
  /** Answers whatever is asked with that part, If-Range or not, and these fields. */
  const saying = (header: Record<string, string>): Behaviour => ({
    answer: (_request, response) =>
      void response.writeHead(206, { ...contentRange, ...header }).end(part),
  });
  const lastModified = "Tue, 01 Oct 2024 10:00:00 GMT";
  it.each<[string, Behaviour, Behaviour]>([
    ["no ETag any more", { content, etag: '"a"' }, saying({ "last-modified": lastModified })],
    ["nothing any more", { content, etag: '"a"' }, saying({})],
    ["no date any more", { content, etag: false }, saying({})],
    ["a weak ETag and no date", { content, etag: 'W/"a"' }, saying({ etag: 'W/"a"' })],
    [
      "several parts in one",
      { content },
      saying({ etag: '"200000"', "content-type": "multipart/byteranges; boundary=x" }),
    ],
  ])("refuses a range that does not prove its version: %s", async (_what, first, then) => {
    await expect(readAfter(first, then)).rejects.toMatchObject({ code: "ERR_ORIGIN_NO_RANGES" });
  });

  it.each<[string, Behaviour]>([
    ["a date", { content, etag: false }],
    ["a weak ETag and a date", { content, etag: 'W/"a"' }],
    ["a strong ETag", { content, lastModified: false }],
  ])("takes a range that proves its version by %s", async (_what, behaviour) => {
    expect((await readAfter(behaviour, behaviour)).equals(part)).toBe(true);
  });

  it.each<[string, Behaviour]>([
    ["a strong ETag", { content, etag: '"a"' }],
    ["a date", { content, etag: false }],
  ])("refuses the whole file where it does not prove its version by %s", async (_what, first) => {
    const whole = { offset: 0, length: content.byteLength };
    const then = { content, ranges: false, etag: false, lastModified: false } as const;
    await expect(readAfter(first, then, whole)).rejects.toMatchObject({
      code: "ERR_ORIGIN_NO_RANGES",
    });
  });

  it("sends If-Range where it may stand, and never a weak ETag or a date", async () => {
    const sent = async (behaviour: Behaviour): Promise<unknown> => {
      await using fixture = await openOriginFixture({ files: { "/file": behaviour } });
      const request = { url: `${fixture.server.url}/file`, header: {} };
      const expected = await fixture.origin.stat(request);
      await using body = await fixture.origin.readRange(
        request,
        { offset: 0, length: 1 },
        expected,
      );
      await collect(body.content);
      return fixture.server.requests.at(-1)?.header["if-range"];
    };
    expect(await sent({ content, etag: '"a"' })).toBe('"a"');
    expect(await sent({ content, etag: 'W/"a"' })).toBeUndefined();
    expect(await sent({ content, etag: false })).toBeUndefined();
  });

  it("takes the whole file for a range that is the whole file", async () => {
    const bytes = await readAfter(
      { content },
      { content, ranges: false },
      { offset: 0, length: content.byteLength },
    );
    expect(bytes.equals(content)).toBe(true);
  });

  it("closes the body of an origin that ignores ranges at once", async () => {
    const large = seededContent(64 * 1024 * 1024);
    await using fixture = await openOriginFixture({
      files: { "/file": { content: large, ranges: false } },
    });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = { etag: "", lastModified: "", contentLength: large.byteLength };
    const reading = fixture.origin.readRange(request, { offset: 0, length: 1 }, expected);
    await expect(reading).rejects.toMatchObject({ code: "ERR_ORIGIN_NO_RANGES" });
    expect(fixture.server.bodyBytes()).toBeLessThan(large.byteLength / 2);
  });

  it.each<[string, Behaviour, string | RegExp]>([
    ["ends early", { content, cutAfterBytes: 10 }, "the body ended after 10 of 1000 bytes"],
    ["is reset", { content, cutAfterBytes: 10, cut: "reset" }, /ECONNRESET|the body ended after/],
    ["announces less", { content, announcedExtraBytes: -10 }, "announced 990 bytes"],
    ["announces more", { content, announcedExtraBytes: 10 }, "announced 1010 bytes"],
    [
      "has no length and ends early",
      { content, chunked: true, cutAfterBytes: 10 },
      "the body ended after 10 of 1000 bytes",
    ],
  ])("fails when the body %s", async (_what, behaviour, message) => {
    await expect(readAfter({ content }, behaviour)).rejects.toThrow(message);
  });

  it("fails when more comes than the range", async () => {
    const then: Behaviour = {
      answer: (_request, response) => {
        response
          .writeHead(206, { "content-range": "bytes 100-1099/200000", etag: '"200000"' })
          .end(Buffer.alloc(1001));
      },
    };
    await expect(readAfter({ content }, then)).rejects.toMatchObject({
      code: "ERR_ORIGIN_OVERLONG",
    });
  });

  it("fails when nothing comes any more", async () => {
    const never = new Promise<void>(() => {});
    const behaviour: Behaviour = { content, beforeChunk: (sent) => (sent > 0 ? never : undefined) };
    await using fixture = await openOriginFixture(
      { files: { "/file": behaviour } },
      { limits: { stallMs: 100 } },
    );
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = await fixture.origin.stat(request);
    await using body = await fixture.origin.readRange(
      request,
      { offset: 0, length: content.byteLength },
      expected,
    );
    await expect(collect(body.content)).rejects.toMatchObject({ code: "ERR_ORIGIN_STALLED" });
  });

  it("lets a slow reader take its time, and holds the origin back meanwhile", async () => {
    const large = seededContent(32 * 1024 * 1024);
    await using fixture = await openOriginFixture(
      { files: { "/file": { content: large } } },
      { limits: { stallMs: 100 } },
    );
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = await fixture.origin.stat(request);
    await using body = await fixture.origin.readRange(
      request,
      { offset: 0, length: large.byteLength },
      expected,
    );
    const reader = body.content[Symbol.asyncIterator]();
    const first = await reader.next();
    await new Promise((resolve) => setTimeout(resolve, 1500)); // far beyond stallMs, whose timer beats twice a second
    expect(fixture.server.bodyBytes()).toBeLessThan(large.byteLength / 2);
    const rest = await collect({ [Symbol.asyncIterator]: () => reader });
    expect(Buffer.concat([first.value ?? new Uint8Array(), rest]).equals(large)).toBe(true);
  });

  it("throws the signal's reason, before, while waiting and in the middle of the body", async () => {
    const waiting = new AbortController();
    const reading = new AbortController();
    const never = new Promise<void>(() => {});
    await using fixture = await openOriginFixture({ files: { "/file": { content } } });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const range = { offset: 0, length: content.byteLength };
    const expected = await fixture.origin.stat(request);
    const reason = new Error("user pressed ctrl-c");
    await expect(
      fixture.origin.readRange(request, range, expected, { signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);

    fixture.server.set("/file", { answer: () => waiting.abort(reason) });
    await expect(
      fixture.origin.readRange(request, range, expected, { signal: waiting.signal }),
    ).rejects.toBe(reason);

    fixture.server.set("/file", { content, beforeChunk: (sent) => (sent > 0 ? never : undefined) });
    await using body = await fixture.origin.readRange(request, range, expected, {
      signal: reading.signal,
    });
    const reader = body.content[Symbol.asyncIterator]();
    await reader.next();
    reading.abort(reason);
    await expect(reader.next()).rejects.toBe(reason);
  });

  it("closes the connection when the reader leaves", async () => {
    let closed: Promise<unknown> = Promise.resolve();
    await using fixture = await openOriginFixture({ files: { "/file": { content } } });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = await fixture.origin.stat(request);
    fixture.server.set("/file", {
      answer: (_request, response) => {
        closed = once(response, "close");
        response.writeHead(206, {
          "content-range": "bytes 0-199999/200000",
          etag: expected.etag,
          "content-length": 200_000,
        });
        response.write(Buffer.alloc(10));
      },
    });
    await using body = await fixture.origin.readRange(
      request,
      { offset: 0, length: 200_000 },
      expected,
    );
    for await (const _ of body.content) break;
    await closed;
  });

  it("asks for no range that cannot be", async () => {
    await using fixture = await openOriginFixture();
    const request = { url: fixture.server.url, header: {} };
    const expected = { etag: "", lastModified: "", contentLength: 10 };
    for (const range of [
      { offset: 0, length: 0 },
      { offset: 5, length: 6 },
      { offset: -1, length: 1 },
    ]) {
      await expect(fixture.origin.readRange(request, range, expected)).rejects.toThrow(RangeError);
    }
  });

  it("does not take the surplus of one answer for the next", async () => {
    const forged = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () =>
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood${forged}`),
      );
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const port = portOf(server);
    await using origin = openHttpOrigin({ userAgent: "test" });
    for (let round = 0; round < 3; round += 1) {
      await using body = await origin.readAll({ url: `http://127.0.0.1:${port}/`, header: {} });
      expect((await collect(body.content)).toString()).toBe("good");
    }
    server.close();
  });
});
