import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTraps } from "../packages/dfdaemon/src/testing/traps.ts";
import { sha256, useCluster, type DfgetResult, type RunningDaemon } from "./support/daemon.ts";
import { eventually } from "./support/eventually.ts";
import {
  createTestAuthority,
  openOriginServer,
  seededContent,
  type Behaviour,
  type OriginServer,
} from "./support/origin-server.ts";

/** Three pieces, the last one short. */
const LENGTH = 9 * 2 ** 20 + 17;
const CONTENT = seededContent(LENGTH);
const SHA256 = sha256(CONTENT);

const cluster = useCluster("file");
let origin: OriginServer;
let daemon: RunningDaemon;

beforeAll(async () => {
  origin = await openOriginServer();
  daemon = await cluster.startDaemon();
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
});

let pathCount = 0;

/** A path of its own for every test, so that none finds what another has left with the daemon. */
function serve(behaviour: Parameters<OriginServer["set"]>[1]): { path: string; url: string } {
  pathCount += 1;
  const path = `/file-${pathCount}`;
  origin.set(path, behaviour);
  return { path, url: `${origin.url}${path}` };
}

/** Runs dfget into an empty directory, which it must leave empty. */
async function fail(url: string, flags: readonly string[] = []): Promise<DfgetResult> {
  const directory = cluster.path("empty");
  await mkdir(directory);
  const result = await cluster.runDfget(url, { daemon, output: join(directory, "file"), flags });
  expect(result.exit).toEqual({ code: 1, signal: null });
  expect(await readdir(directory)).toEqual([]);
  return result;
}

describe("an origin that serves ranges", () => {
  it("gives each byte once, piece by piece", async () => {
    const { path, url } = serve({ content: CONTENT });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, length: LENGTH, fromOrigin: LENGTH });
    expect(origin.bodyBytes(path)).toBe(LENGTH);
    const gets = origin.requestsTo(path).filter(({ method }) => method === "GET");
    expect(gets.map(({ statusCode }) => statusCode)).toEqual([206, 206, 206]);
  });

  it("is not asked for content again when the daemon has it", async () => {
    const { path, url } = serve({ content: CONTENT });
    await cluster.fetch(url, { daemon });
    const again = await cluster.fetch(url, { daemon });
    expect(again).toMatchObject({ sha256: SHA256, fromOrigin: 0, fromLocal: LENGTH });
    expect(origin.bodyBytes(path)).toBe(LENGTH);
  });

  it("need not know HEAD", async () => {
    const { url } = serve({ content: CONTENT, head: false });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });
});

describe("an origin that serves no ranges", () => {
  it("is read in one go", async () => {
    const { path, url } = serve({ content: CONTENT, ranges: false });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: LENGTH });
    expect(origin.requestsTo(path).filter(({ bodyBytes }) => bodyBytes === LENGTH)).toHaveLength(1);
  });

  it("is read in one go, too, when it says that it does serve them", async () => {
    const header = { "accept-ranges": "bytes" };
    const { url } = serve({ content: CONTENT, ranges: false, header });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it("is read in one go when nothing would show that the file changed between two ranges", async () => {
    const { path, url } = serve({ content: CONTENT, etag: false, lastModified: false });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
    expect(origin.requestsTo(path).filter(({ bodyBytes }) => bodyBytes === LENGTH)).toHaveLength(1);
  });
});

describe("an origin that does not say how long the file is", () => {
  it.each([
    ["sends chunks", true],
    ["just closes the connection at the end", "close"],
  ] as const)("is read to the end if it %s", async (_, chunked) => {
    const { url } = serve({ content: CONTENT, ranges: false, chunked });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, length: LENGTH, fromOrigin: LENGTH });
  });
});

describe("an origin that says how long the file is only when it is asked for a part", () => {
  it("is read in one go when nothing would show that the file changed meanwhile", async () => {
    const { url } = serve({ content: CONTENT, chunked: true, etag: false, lastModified: false });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, length: LENGTH, fromOrigin: LENGTH });
  });

  it("is read in ranges otherwise", async () => {
    const { url } = serve({ content: CONTENT, chunked: true });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, length: LENGTH, fromOrigin: LENGTH });
  });
});

describe("an origin that redirects", () => {
  it("is followed to another path, and to another host", async () => {
    await using mirror = await openOriginServer({
      host: "127.0.0.2",
      files: { "/moved": { content: CONTENT } },
    });
    const hop = serve({ redirectTo: `${mirror.url}/moved` });
    const { url } = serve({ redirectTo: `..${hop.path}`, status: 307 });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
    expect(mirror.bodyBytes("/moved")).toBe(LENGTH);
  });

  it("is not followed in circles", async () => {
    const { path, url } = serve({});
    const back = serve({ redirectTo: path });
    origin.set(path, { redirectTo: back.path });
    const { error } = await fail(url);
    expect(error?.message).toContain("redirects lead back to where they were");
    expect(error?.message).toContain(`${back.path} -> ${url}`);
  });

  it("is given credentials that another host is not given", async () => {
    await using mirror = await openOriginServer({
      host: "127.0.0.2",
      files: { "/moved": { content: CONTENT } },
    });
    const { path, url } = serve({ redirectTo: `${mirror.url}/moved` });
    const flags = ["Authorization: Bearer s3cret", "Cookie: id=s3cret", "X-Trace: 7"];
    const got = await cluster.fetch(url, { daemon, flags: flags.flatMap((flag) => ["-H", flag]) });
    expect(got.sha256).toBe(SHA256);
    for (const { header } of origin.requestsTo(path)) {
      expect(header).toMatchObject({ authorization: "Bearer s3cret", cookie: "id=s3cret" });
    }
    expect(mirror.requests.length).toBeGreaterThan(0);
    for (const { header } of mirror.requests) {
      expect(JSON.stringify(header)).not.toContain("s3cret");
      expect(header["x-trace"]).toBe("7");
    }
    expect(daemon.child.lines.join("\n")).not.toContain("s3cret");
  });
});

describe("an origin that asks who is there", () => {
  const authorization = `Basic ${Buffer.from("user:s3cret").toString("base64")}`;

  it("lets in who gives name and password in the URL", async () => {
    const { path } = serve({ content: CONTENT, authorization });
    const url = `http://user:s3cret@127.0.0.1:${origin.port}${path}`;
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
    expect(daemon.child.lines.join("\n")).not.toContain("s3cret");
  });

  it("lets in who gives a header", async () => {
    const { url } = serve({ content: CONTENT, authorization });
    const flags = ["-H", `Authorization: ${authorization}`];
    expect((await cluster.fetch(url, { daemon, flags })).sha256).toBe(SHA256);
  });

  it.each(["Authorization", "X-JFrog-Art-Api"])(
    "is asked again for whoever comes with other credentials, or none, as %s",
    async (name) => {
      const { url } = serve(({ headers }) => {
        const given = headers[name.toLowerCase()];
        if (given === authorization) return { content: CONTENT };
        return { status: given === undefined ? 401 : 403 };
      });
      await cluster.fetch(url, { daemon, flags: ["-H", `${name}: ${authorization}`] });
      const { error } = await fail(url);
      expect(error?.origin?.statusCode).toBe(401);
      const other = await fail(url, ["-H", `${name}: Basic b3RoZXI=`]);
      expect(other.error?.origin?.statusCode).toBe(403);
    },
  );
});

describe("an origin that refuses", () => {
  it.each([
    [401, "Unauthorized"],
    [403, "Forbidden"],
    [404, "Not Found"],
    [416, "Range Not Satisfiable"],
    [500, "Internal Server Error"],
  ])("has its %i told to the user, with reason and header", async (status, reason) => {
    const { url } = serve({ status, header: { "x-request-id": `id-${status}` } });
    const { error } = await fail(url);
    expect(error).toMatchObject({
      code: "ERR_DOWNLOAD",
      message: `Cannot read ${url}: origin answered ${status} ${reason}${status >= 500 ? " (2 attempts)" : ""}`,
      exitCode: 1,
      origin: { statusCode: status, header: { "x-request-id": `id-${status}` } },
    });
  });

  it("has its own words for the reason told", async () => {
    const { url } = serve({ status: 403, reason: "Not Before Monday" });
    const { error } = await fail(url);
    expect(error?.message).toContain("origin answered 403 Not Before Monday");
  });

  it("is explained to people as well as to programs", async () => {
    const { url } = serve({ status: 404, header: { "x-request-id": "abc" } });
    const args = [url, "-O", cluster.path(), "-e", daemon.socketPath];
    const child = cluster.spawn("dfget", args);
    expect(await child.exited).toEqual({ code: 1, signal: null });
    const text = child.lines.join("\n");
    expect(text).toContain("Downloading Failed!");
    expect(text).toContain("origin answered 404 Not Found");
    expect(text).toContain("x-request-id: abc");
  });
});

describe("an origin that is busy", () => {
  /** The first two requests, which are a HEAD and the first GET, are answered so. */
  function busyAtFirst(status: number, header: Readonly<Record<string, string>>): string {
    return serve((_, earlierCount) =>
      earlierCount < 2 ? { status, header } : { content: CONTENT },
    ).url;
  }

  it.each([
    [429, "in seconds", (): string => "1"],
    [503, "as a date", (): string => new Date(Date.now() + 1500).toUTCString()],
  ] as const)("is asked again when its %i says when, %s", async (status, _, retryAfter) => {
    const url = busyAtFirst(status, { "retry-after": retryAfter() });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it.each([429, 500, 503])("is asked again after a %i that does not say when", async (status) => {
    const url = busyAtFirst(status, {});
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it.each([429, 503])(
    "is given up when its %i asks for more patience than there is",
    async (status) => {
      const { path, url } = serve({ status, header: { "retry-after": "3600" } });
      const { error } = await fail(url);
      expect(error?.message).toContain("it asks to come back in 3600 s, the limit is 120 s");
      expect(error?.origin).toMatchObject({
        statusCode: status,
        header: { "retry-after": "3600" },
      });
      expect(origin.requestsTo(path).length).toBeLessThanOrEqual(2);
    },
  );

  it.each([429, 503])(
    "is given up after another try when it says nothing but %i",
    async (status) => {
      const { error } = await fail(serve({ status }).url);
      expect(error?.origin?.statusCode).toBe(status);
    },
  );
});

describe("an origin that has to be waited for", () => {
  it("is named, and for how long, while it is waited for", async () => {
    const { url } = serve((_, earlierCount) =>
      earlierCount < 1 ? { status: 503, header: { "retry-after": "4" } } : { content: CONTENT },
    );
    const child = cluster.spawn("dfget", [url, "-O", cluster.path(), "-e", daemon.socketPath]);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    // With up to a second more by chance.
    expect(child.lines.join("\n")).toMatch(
      /waiting: the origin has been left alone, as it asked \(origin answered 503 Service Unavailable, Retry-After: 4\) for \d s \(until [45] s\)/,
    );
  });

  it("is named in the middle of a file, too", async () => {
    const { url } = serve(({ headers, method }, earlierCount) => {
      const isPart = method === "GET" && headers.range !== "bytes=0-0";
      // The parts are asked for at once: three of them.
      if (isPart && earlierCount <= 3) return { status: 503, header: { "retry-after": "4" } };
      return { content: CONTENT };
    });
    const got = await cluster.runDfget(url, { daemon, flags: ["--json"] });
    expect(got.exit.code).toBe(0);
    expect(got.events).toContainEqual({
      event: "waiting",
      reason: "origin-retry",
      description: expect.stringMatching(
        /^the origin has been left alone, as it asked \(origin answered 503 .*Retry-After: 4\)$/,
      ),
      waitedMs: expect.any(Number),
      boundMs: expect.any(Number),
      elapsedMs: expect.any(Number),
    });
  });
});

describe("an origin host that says nothing", () => {
  it("holds up nobody who asks another one, however many wait for it", async () => {
    await using traps = await openTraps();
    const ended: DfgetResult[] = [];
    const downloads = Array.from({ length: 8 }, (_, number) =>
      cluster.startDfget(`http://127.0.0.1:${traps.tcpPort}/${number}`, { daemon }),
    );
    for (const { result } of downloads) void result.then((each) => ended.push(each));
    await eventually("eight that wait", async () =>
      traps.connectionCount >= downloads.length ? true : undefined,
    );
    for (let count = 0; count < 4; count += 1) {
      const got = await cluster.fetch(serve({ content: CONTENT }).url, { daemon });
      expect(got.sha256).toBe(SHA256);
    }
    expect(ended).toEqual([]);
    for (const { child } of downloads) child.kill("SIGTERM");
    await Promise.all(downloads.map(({ result }) => result));
  });
});

describe("an origin that encodes", () => {
  it("has its gzip kept as it is: a file of as many bytes as were announced", async () => {
    const text = Buffer.from("damselfly ".repeat(100_000));
    const { url } = serve({ content: text, gzip: true });
    const got = await cluster.fetch(url, { daemon });
    expect(got.sha256).toBe(sha256(gzipSync(text)));
  });

  it("is asked not to", async () => {
    const { path, url } = serve({ content: CONTENT });
    await cluster.fetch(url, { daemon });
    for (const { header } of origin.requestsTo(path))
      expect(header["accept-encoding"]).toBe("identity");
  });
});

describe("an origin that miscounts", () => {
  it.each([
    ["with ranges", {}],
    ["without ranges", { ranges: false }],
  ])("and sends less than it announced, %s, leaves no file", async (_, more) => {
    const { error } = await fail(
      serve({ content: CONTENT, announcedExtraBytes: 100, ...more }).url,
    );
    expect(error?.code).toBe("ERR_DOWNLOAD");
  });

  it("and sends more than it announced gives a file as long as announced", async () => {
    const { url } = serve({ content: CONTENT, announcedExtraBytes: -100, ranges: false });
    const got = await cluster.fetch(url, { daemon });
    expect(got.length).toBe(LENGTH - 100);
    expect(got.sha256).toBe(sha256(CONTENT.subarray(0, LENGTH - 100)));
  });
});

describe("an origin whose connection is cut", () => {
  it.each([
    ["in good order, in a range", "end", true],
    ["by a reset, in a range", "reset", true],
    ["in good order, in the whole file", "end", false],
    ["by a reset, in the whole file", "reset", false],
  ] as const)("%s, is asked once more", async (_, cut, ranges) => {
    const cutAfterBytes = 3 * 2 ** 20;
    let cuts = 0;
    const { path, url } = serve((request) => {
      if (request.method === "HEAD" || cuts > 0) return { content: CONTENT, ranges };
      // The first byte, asked for to learn about the file, is no download.
      if (request.headers.range === "bytes=0-0") return { content: CONTENT, ranges };
      cuts += 1;
      return { content: CONTENT, ranges, cut, cutAfterBytes };
    });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
    expect(cuts).toBe(1);
    // A piece begins again where there are ranges; where there are none, everything does.
    const read = origin.requestsTo(path).filter(({ header }) => header.range !== "bytes=0-0");
    const bytes = read.reduce((total, { bodyBytes }) => total + bodyBytes, 0);
    expect(bytes).toBeLessThanOrEqual(LENGTH + cutAfterBytes);
  });

  it("again and again leaves no file, and says so", async () => {
    const { url } = serve({ content: CONTENT, ranges: false, cutAfterBytes: 5_000_000 });
    const { error } = await fail(url);
    expect(error?.message).toContain(`the body ended after 5000000 of ${LENGTH} bytes`);
  });

  it("without a length leaves no file either", async () => {
    const behaviour = { content: CONTENT, ranges: false, chunked: true, cutAfterBytes: 5_000_000 };
    const { error } = await fail(serve(behaviour).url);
    expect(error?.message).toContain("the body ended after 5000000 bytes");
  });
});

describe("an origin that changes the file", () => {
  const NEW_CONTENT = seededContent(LENGTH, 2);
  const versions: readonly [string, Behaviour, Behaviour][] = [
    ["ETag", { etag: '"1"', lastModified: false }, { etag: '"2"', lastModified: false }],
    [
      "Last-Modified",
      { etag: false, lastModified: "Tue, 01 Oct 2024 10:00:00 GMT" },
      { etag: false, lastModified: "Tue, 01 Oct 2024 11:00:00 GMT" },
    ],
  ];

  it.each(versions)(
    "between two requests (%s) gives the new one, whole",
    async (_, before, after) => {
      const { url } = serve((_request, earlierCount) =>
        earlierCount < 2 ? { content: CONTENT, ...before } : { content: NEW_CONTENT, ...after },
      );
      expect((await cluster.fetch(url, { daemon })).sha256).toBe(sha256(NEW_CONTENT));
    },
  );

  it.each(versions)(
    "after a download (%s) is noticed with --revalidate",
    async (_, before, after) => {
      const { path, url } = serve({ content: CONTENT, ...before });
      expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
      origin.set(path, { content: NEW_CONTENT, ...after });
      expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
      const got = await cluster.fetch(url, { daemon, flags: ["--revalidate"] });
      expect(got.sha256).toBe(sha256(NEW_CONTENT));
    },
  );

  it("at every request is read in one go in the end, and given whole", async () => {
    const { url } = serve((_, earlierCount) => ({
      content: seededContent(LENGTH, earlierCount),
      etag: `"${earlierCount}"`,
    }));
    const possible = Array.from({ length: 40 }, (_, seed) => sha256(seededContent(LENGTH, seed)));
    expect(possible).toContain((await cluster.fetch(url, { daemon })).sha256);
  });

  /** What a server that heeds neither If-Range nor itself says of the part it sends. */
  const liars: readonly [string, Readonly<Record<string, string>>][] = [
    ["nothing", {}],
    ["a date only", { "last-modified": "Tue, 01 Oct 2024 10:00:00 GMT" }],
    ["the wrong total", { etag: '"1"', total: "77" }],
    ["that it is several parts", { etag: '"1"', "content-type": "multipart/byteranges" }],
  ];
  it.each(liars)(
    "after the first part, and says %s of the others, gives no mix",
    async (_, { total = String(LENGTH), ...header }) => {
      const { url } = serve(({ headers }) => {
        const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
        if (range === null) return { content: NEW_CONTENT, etag: '"2"' };
        if (range[1] === "0") return { content: CONTENT, etag: '"1"' };
        const [first, last] = [Number(range[1]), Number(range[2])];
        return {
          answer: (_request, response) => {
            response.writeHead(206, {
              "content-range": `bytes ${first}-${last}/${total}`,
              "content-length": last - first + 1,
              ...header,
            });
            response.end(NEW_CONTENT.subarray(first, last + 1));
          },
        };
      });
      expect([SHA256, sha256(NEW_CONTENT)]).toContain(
        (await cluster.fetch(url, { daemon })).sha256,
      );
    },
  );
});

describe("servers that share a name", () => {
  it("and disagree about the ETag of a file have it read in one go", async () => {
    const { url } = serve((_, earlierCount) => ({
      content: CONTENT,
      etag: earlierCount % 2 === 0 ? '"left"' : '"right"',
    }));
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it("are all read where the first one was found that a redirect leads to", async () => {
    const ways: string[] = [];
    const { path, url } = serve((_, earlierCount) => {
      ways.push(`${path}-${earlierCount % 2}`);
      return { redirectTo: `${path}-${earlierCount % 2}` };
    });
    for (const way of [0, 1])
      origin.set(`${path}-${way}`, { content: CONTENT, etag: `"mirror ${way}"` });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
    expect(ways).toHaveLength(1);
  });

  it("answer HEAD otherwise than GET, and have the file given as GET gives it", async () => {
    const { url } = serve(({ method }) =>
      method === "HEAD"
        ? { content: CONTENT.subarray(1), etag: '"head"' }
        : { content: CONTENT, etag: '"get"' },
    );
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });
});

describe("an origin that says what the digest of the file is", () => {
  const digest = (algorithm: string, bytes: Uint8Array = CONTENT): string =>
    createHash(algorithm).update(bytes).digest("base64");
  const WRONG = seededContent(LENGTH, 3);
  const fields: readonly [string, (bytes: Uint8Array) => Record<string, string>, Behaviour?][] = [
    ["Repr-Digest", (bytes) => ({ "repr-digest": `sha-256=:${digest("sha256", bytes)}:` })],
    [
      "Content-Digest, where it is read in one go",
      (bytes) => ({ "content-digest": `sha-512=:${digest("sha512", bytes)}:` }),
      { ranges: false },
    ],
    ["Digest", (bytes) => ({ digest: `SHA-256=${digest("sha256", bytes)}` })],
    ["Content-MD5", (bytes) => ({ "content-md5": digest("md5", bytes) })],
    ["S3's checksum", (bytes) => ({ "x-amz-checksum-sha1": digest("sha1", bytes) })],
    [
      "Repr-Digest without a length",
      (bytes) => ({ "repr-digest": `sha-256=:${digest("sha256", bytes)}:` }),
      { ranges: false, chunked: "close" },
    ],
  ];

  it.each(fields)("has it verified, and good files given: %s", async (_, header, more = {}) => {
    const { url } = serve({ content: CONTENT, header: header(CONTENT), ...more });
    expect((await cluster.fetch(url, { daemon })).sha256).toBe(SHA256);
  });

  it.each(fields)("and sends another file has no file left: %s", async (_, header, more = {}) => {
    const { path, url } = serve({ content: CONTENT, header: header(WRONG), ...more });
    const { error } = await fail(url);
    expect(error?.message).toMatch(
      /^Cannot deliver http.*: what the origin sent is not what it says it is: it has \w+:[0-9a-f]+, expected \w+:[0-9a-f]+ as the origin says$/,
    );
    // Nothing of it is kept: once the origin is right, so is the file.
    origin.set(path, { content: CONTENT, header: header(CONTENT), ...more });
    const got = await cluster.fetch(url, { daemon });
    expect(got).toMatchObject({ sha256: SHA256, fromOrigin: LENGTH, fromLocal: 0 });
  });

  it("only by the name of the file, as registries do, has it verified, also behind a redirect", async () => {
    const blob = (hex: string, content: Uint8Array): string => {
      const { path } = serve({ content });
      origin.set(`/v2/app/blobs/sha256:${hex}`, { redirectTo: path, status: 307 });
      return `${origin.url}/v2/app/blobs/sha256:${hex}`;
    };
    expect((await cluster.fetch(blob(SHA256, CONTENT), { daemon })).sha256).toBe(SHA256);
    const { error } = await fail(blob(sha256(WRONG), CONTENT));
    expect(error?.message).toContain(`it has sha256:${SHA256}, expected sha256:${sha256(WRONG)}`);
  });

  it("shows that a body was cut off whose end nothing else marks", async () => {
    const header = { "repr-digest": `sha-256=:${digest("sha256")}:` };
    const behaviour = { ranges: false, chunked: "close", header } as const;
    const { error } = await fail(
      serve({ content: CONTENT.subarray(0, 5_000_000), ...behaviour }).url,
    );
    expect(error?.message).toContain("what the origin sent is not what it says it is");
  });

  it("is not asked for one where the daemon is told not to verify any", async () => {
    const settings = { "backend.verifyDigest": "false" };
    const careless = await cluster.startDaemon({ name: "careless", settings });
    const header = { "content-md5": digest("md5", WRONG) };
    const { path, url } = serve({ content: CONTENT, header });
    expect((await cluster.fetch(url, { daemon: careless })).sha256).toBe(SHA256);
    expect(origin.requestsTo(path)[0]?.header).not.toHaveProperty("want-repr-digest");
    await careless.child.end();
  });
});

describe("an empty file", () => {
  it.each([
    ["with a length", {}],
    ["without a length", { chunked: true, ranges: false }],
  ] as const)("%s arrives as one", async (_, more) => {
    const output = cluster.path();
    const { url } = serve({ content: new Uint8Array(0), ...more });
    const got = await cluster.fetch(url, { daemon, output });
    expect(got.length).toBe(0);
    expect(await readFile(output)).toHaveLength(0);
  });
});

describe("an HTTPS origin with a certificate of a private authority", () => {
  const authority = createTestAuthority();
  let secure: OriginServer;
  let caPath: string;

  beforeAll(async () => {
    const files = { "/file": { content: CONTENT } };
    secure = await openOriginServer({ tls: authority.issue(), files });
    caPath = cluster.path("ca.pem");
    await writeFile(caPath, authority.caCert);
  });
  afterAll(async () => {
    await secure[Symbol.asyncDispose]();
  });

  it("is refused, with a word on what to do", async () => {
    const { error } = await fail(`${secure.url}/file`);
    expect(error?.message).toContain("signed by an authority that is not trusted");
    expect(error?.message).toContain("--ca-cert FILE");
  });

  it("is trusted with --ca-cert", async () => {
    const got = await cluster.fetch(`${secure.url}/file?a`, {
      daemon,
      flags: ["--ca-cert", caPath],
    });
    expect(got.sha256).toBe(SHA256);
  });

  it("is read unchecked with --insecure, and only then", async () => {
    const got = await cluster.fetch(`${secure.url}/file?b`, { daemon, flags: ["--insecure"] });
    expect(got.sha256).toBe(SHA256);
    expect((await fail(`${secure.url}/file?c`)).error?.message).toContain("not trusted");
  });

  it("is trusted by a daemon that was given the authority", async () => {
    const settings = { "backend.caCert": caPath };
    const trusting = await cluster.startDaemon({ name: "trusting", settings });
    const got = await cluster.fetch(`${secure.url}/file`, { daemon: trusting });
    expect(got.sha256).toBe(SHA256);
    await trusting.child.end();
  });
});

describe("a part of a file", () => {
  it.each([
    ["5-1048580", 5, 1_048_581],
    ["4194300-4194310", 4_194_300, 4_194_311],
    ["9000000-", 9_000_000, LENGTH],
    ["-100", LENGTH - 100, LENGTH],
  ])(
    "is had with --range %s, and no more is fetched than its pieces",
    async (range, start, end) => {
      const { path, url } = serve({ content: CONTENT });
      const got = await cluster.fetch(url, { daemon, flags: ["--range", range] });
      expect(got.sha256).toBe(sha256(CONTENT.subarray(start, end)));
      expect(origin.bodyBytes(path)).toBeLessThan(LENGTH);
    },
  );

  it("is had from an origin that serves no ranges", async () => {
    const { url } = serve({ content: CONTENT, ranges: false });
    const got = await cluster.fetch(url, { daemon, flags: ["--range", "100-199"] });
    expect(got.sha256).toBe(sha256(CONTENT.subarray(100, 200)));
  });

  it("beyond the end is an error", async () => {
    const { error } = await fail(serve({ content: CONTENT }).url, ["--range", `${LENGTH}-`]);
    expect(error?.message).toContain(String(LENGTH));
  });

  it("is written to standard output", async () => {
    const { url } = serve({ content: CONTENT });
    const flags = ["--range", "0-99"];
    const { exit, stdout } = await cluster.runDfget(url, { daemon, output: "-", flags });
    expect(exit.code).toBe(0);
    expect(sha256(stdout)).toBe(sha256(CONTENT.subarray(0, 100)));
  });
});
