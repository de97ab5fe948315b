import { createServer } from "node:net";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { collect, openOriginFixture, portOf } from "../testing/origin-fixture.ts";
import { seededContent, type Behaviour } from "../testing/origin-server.ts";
import { guardOrigin } from "./guarded-origin.ts";
import { openHttpOrigin } from "./http-origin.ts";
import { OriginGuard } from "./origin-guard.ts";
import type { OriginWait } from "./origin.ts";

const content = seededContent(1000);

/** Fails `count` times, then serves the file. */
function failing(
  count: number,
  failure: Behaviour,
): (request: unknown, earlierCount: number) => Behaviour {
  return (_request, earlierCount) => (earlierCount < count ? failure : { content });
}

describe("Origin retries", () => {
  it.each([429, 503])("waits as long as %i says, in seconds, and tells so", async (status) => {
    await using fixture = await openOriginFixture();
    fixture.server.set("/file", failing(2, { status, header: { "retry-after": "7" } }));
    const waits: OriginWait[] = [];
    await using body = await fixture.origin.readAll(
      { url: `${fixture.server.url}/file`, header: {} },
      { onWait: (wait) => waits.push(wait) },
    );
    expect((await collect(body.content)).equals(content)).toBe(true);
    expect(fixture.waits).toEqual([7000, 7000]);
    expect(waits.map(({ waitMs, attempt }) => [waitMs, attempt])).toEqual([
      [7000, 1],
      [7000, 2],
    ]);
    expect(waits[0]?.reason).toContain(`origin answered ${status}`);
    expect(waits[0]?.reason).toContain("Retry-After: 7");
  });

  it("waits until a date", async () => {
    await using fixture = await openOriginFixture();
    fixture.server.set(
      "/file",
      failing(1, { status: 503, header: { "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" } }),
    );
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    expect(body.stat.contentLength).toBe(1000);
    expect(fixture.waits).toEqual([30_000]);
  });

  it("does not wait longer than it may, and says what was asked", async () => {
    await using fixture = await openOriginFixture({
      files: {
        "/long": { status: 503, reason: "Busy", header: { "retry-after": "3600" } },
        "/again": { status: 429, header: { "retry-after": "50" } },
      },
    });
    const long = fixture.origin.readAll({ url: `${fixture.server.url}/long`, header: {} });
    await expect(long).rejects.toMatchObject({
      code: "ERR_ORIGIN_STATUS",
      statusCode: 503,
      message: `Cannot read ${fixture.server.url}/long: origin answered 503 Busy; it asks to come back in 3600 s, the limit is 120 s`,
    });
    expect(fixture.waits).toEqual([]);
    const again = fixture.origin.readAll({ url: `${fixture.server.url}/again`, header: {} });
    await expect(again).rejects.toThrow("100 s have been waited");
    expect(fixture.waits).toEqual([50_000, 50_000]);
  });

  it("does not hammer an origin that says Retry-After: 0", async () => {
    await using fixture = await openOriginFixture({
      files: { "/file": { status: 503, header: { "retry-after": "0" } } },
    });
    await expect(
      fixture.origin.readAll({ url: `${fixture.server.url}/file`, header: {} }),
    ).rejects.toMatchObject({ statusCode: 503 });
    expect(fixture.waits.slice(0, 3)).toEqual([200, 400, 800]);
    expect(fixture.waits.length).toBeLessThan(25);
  });

  it.each<Behaviour>([
    { status: 500 },
    { status: 502 },
    { status: 504 },
    { status: 429 },
    { status: 503, header: { "retry-after": "soon" } },
  ])("tries a few times more, later and later: %o", async (failure) => {
    await using fixture = await openOriginFixture();
    fixture.server.set("/file", failing(3, failure));
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    expect(body.stat.contentLength).toBe(1000);
    expect(fixture.waits).toEqual([200, 400, 800]);
  });

  it("gives up after the last retry, with the last answer", async () => {
    await using fixture = await openOriginFixture({
      files: { "/file": { status: 500, header: { "x-id": "42" } } },
    });
    await expect(
      fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} }),
    ).rejects.toMatchObject({
      statusCode: 500,
      responseHeader: { "x-id": "42" },
      message: expect.stringContaining("500 Internal Server Error (4 attempts)"),
    });
    expect(fixture.server.requests.map(({ method }) => method)).toEqual([
      "HEAD",
      "GET",
      "GET",
      "GET",
      "GET",
    ]);
  });

  it("does not retry what cannot get better", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { status: 501 } } });
    await expect(
      fixture.origin.stat({ url: `${fixture.server.url}/file`, header: {} }),
    ).rejects.toMatchObject({ statusCode: 501 });
    const unknown = fixture.origin.stat({ url: "http://no-such-host.invalid/", header: {} });
    await expect(unknown).rejects.toMatchObject({ code: "ERR_ORIGIN_UNREACHABLE" });
    expect(fixture.waits.length).toBeLessThanOrEqual(3); // a resolver that is down itself is retried
  });

  it("retries a refused connection and one that breaks before the answer", async () => {
    await using fixture = await openOriginFixture();
    const unused = createServer().listen(0, "127.0.0.1");
    await once(unused, "listening");
    const port = portOf(unused);
    await new Promise((resolve) => unused.close(resolve));
    await expect(
      fixture.origin.readAll({ url: `http://127.0.0.1:${port}/`, header: {} }),
    ).rejects.toMatchObject({
      code: "ERR_ORIGIN_UNREACHABLE",
      message: expect.stringContaining("ECONNREFUSED"),
    });
    expect(fixture.waits).toEqual([200, 400, 800]);

    fixture.server.set("/file", failing(1, { answer: (request) => request.socket.destroy() }));
    await using body = await fixture.origin.readAll({
      url: `${fixture.server.url}/file`,
      header: {},
    });
    expect((await collect(body.content)).equals(content)).toBe(true);
  });

  it("gives an origin up that never answers, after one more try", async () => {
    await using fixture = await openOriginFixture(
      { files: { "/file": { answer: () => {} } } },
      { limits: { headersMs: 100 } },
    );
    const reading = fixture.origin.readAll({ url: `${fixture.server.url}/file`, header: {} });
    await expect(reading).rejects.toMatchObject({
      code: "ERR_ORIGIN_STALLED",
      message: expect.stringContaining("100 ms"),
    });
    expect(fixture.waits).toEqual([200]);
  });

  it("stops waiting when the signal aborts, and when it is disposed", async () => {
    await using fixture = await openOriginFixture({
      files: { "/file": { status: 503, header: { "retry-after": "60" } } },
    });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const reason = new Error("enough");
    // The real clock.
    await using origin = guardOrigin(openHttpOrigin({ userAgent: "test" }), new OriginGuard());
    const abort = new AbortController();
    const waiting = origin.readAll(request, {
      signal: abort.signal,
      onWait: () => abort.abort(reason),
    });
    await expect(waiting).rejects.toBe(reason);

    let disposed: PromiseLike<void> | undefined;
    const other = { ...request, url: `${request.url}?other` };
    const left = origin.readAll(other, {
      onWait: () => {
        disposed = origin[Symbol.asyncDispose]();
      },
    });
    await expect(left).rejects.toMatchObject({ statusCode: 503 });
    await disposed;
  });
});
