import { request } from "node:http";
import { describe, expect, it } from "vitest";
import { openOriginServer, seededContent } from "./origin-server.ts";

describe("openOriginServer", () => {
  it("counts requests and body bytes by path", async () => {
    await using server = await openOriginServer({
      files: { "/a": { content: seededContent(1000) } },
    });
    await (await fetch(`${server.url}/a?x=1`)).arrayBuffer();
    await (await fetch(`${server.url}/a`, { headers: { range: "bytes=-100" } })).arrayBuffer();
    const missing = await fetch(`${server.url}/b`);
    expect(missing.status).toBe(404);
    expect(server.bodyBytes("/a")).toBe(1100);
    expect(
      server.requestsTo("/a").map(({ statusCode, bodyBytes }) => [statusCode, bodyBytes]),
    ).toEqual([
      [200, 1000],
      [206, 100],
    ]);
    expect(server.requests).toHaveLength(3);
  });

  it("wants credentials where told to", async () => {
    await using server = await openOriginServer({ files: { "/a": { authorization: "Bearer x" } } });
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(`${server.url}/a`, { headers })).status;
    expect(await status({})).toBe(401);
    expect(await status({ authorization: "Bearer y" })).toBe(403);
    expect(await status({ authorization: "Bearer x" })).toBe(200);
  });

  it("sends no faster than told, all requests of a path together", async () => {
    await using server = await openOriginServer({
      files: { "/a": { content: seededContent(2000), bytesPerSecond: 20_000 } },
    });
    const start = performance.now();
    await Promise.all([1, 2].map(async () => (await fetch(`${server.url}/a`)).arrayBuffer()));
    // 4000 bytes, of which the first chunk of 1000 is free.
    expect(performance.now() - start).toBeGreaterThan(140);
  });

  it("survives clients that leave", async () => {
    await using server = await openOriginServer({
      files: { "/a": { content: seededContent(20_000_000) } },
    });
    await new Promise((resolve) => {
      const leaving = request(`${server.url}/a`, (response) =>
        response.once("data", () => leaving.destroy()),
      );
      leaving.on("close", resolve);
      leaving.on("error", () => {});
      leaving.end();
    });
    expect((await fetch(`${server.url}/a`, { method: "HEAD" })).status).toBe(200);
  });

  it("makes the same content for the same seed", () => {
    expect(seededContent(11, 5)).toEqual(seededContent(12, 5).subarray(0, 11));
    expect(seededContent(11, 5)).not.toEqual(seededContent(11, 6));
  });
});
