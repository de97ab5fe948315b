import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openOriginFixture } from "../testing/origin-fixture.ts";
import {
  announcedDigests,
  digestRequestHeader,
  type AnnouncingAnswer,
} from "./announced-digests.ts";

const CONTENT = Buffer.from("what is in the file\n");
const hex = (algorithm: string, bytes = CONTENT): string =>
  createHash(algorithm).update(bytes).digest("hex");
const base64 = (algorithm: string, bytes = CONTENT): string =>
  createHash(algorithm).update(bytes).digest("base64");
const CRC = crc32(CONTENT);
const CRC_BASE64 = Buffer.from(CRC.toString(16).padStart(8, "0"), "hex").toString("base64");
const SHA256 = `sha256:${hex("sha256")}`;
const MD5 = `md5:${hex("md5")}`;
const OTHER = Buffer.from("something else");
const NOTHING = Buffer.alloc(0);

const answerOf = (
  responseHeader: Record<string, string>,
  more: Partial<AnnouncingAnswer> = {},
): AnnouncingAnswer => ({
  method: "GET",
  url: new URL("https://origin.test/file"),
  redirects: [],
  statusCode: 200,
  responseHeader,
  contentLength: CONTENT.byteLength,
  ...more,
});
const announced = (...given: Parameters<typeof answerOf>): (readonly string[])[] =>
  announcedDigests(answerOf(...given)).map(({ digest, source }) => [digest, source]);

const BLOB = new URL(`https://registry.test/v2/team/app/blobs/${SHA256}`);
const MANIFEST = new URL("https://registry.test/v2/team/app/manifests/latest");
const GOOGLE = {
  "x-goog-hash": `crc32c=n03x6A==, md5=${base64("md5")}`,
  "x-goog-stored-content-encoding": "identity",
  "x-goog-stored-content-length": String(CONTENT.byteLength),
};
const HUB = { "x-linked-etag": `"${hex("sha256")}"`, "x-linked-size": String(CONTENT.byteLength) };

describe("announcedDigests", () => {
  it.each<[string, Parameters<typeof answerOf>, [digest: string, source: string]]>([
    ["Repr-Digest", [{ "repr-digest": `sha-256=:${base64("sha256")}:` }], [SHA256, "Repr-Digest"]],
    [
      "Repr-Digest with a parameter, between others",
      [{ "repr-digest": `crc32c=:n03x6A==:, sha-256=:${base64("sha256")}:;made=?1,unixsum=7` }],
      [SHA256, "Repr-Digest"],
    ],
    [
      "Repr-Digest of a range",
      [{ "repr-digest": `sha-256=:${base64("sha256")}:` }, { statusCode: 206 }],
      [SHA256, "Repr-Digest"],
    ],
    [
      "Repr-Digest of encoded content",
      [{ "repr-digest": `sha-256=:${base64("sha256")}:`, "content-encoding": "gzip" }],
      [SHA256, "Repr-Digest"],
    ],
    [
      "Repr-Digest by HEAD",
      [{ "repr-digest": `sha-512=:${base64("sha512")}:` }, { method: "HEAD" }],
      [`sha512:${hex("sha512")}`, "Repr-Digest"],
    ],
    [
      "Content-Digest of all there is",
      [{ "content-digest": `sha-256=:${base64("sha256")}:` }],
      [SHA256, "Content-Digest"],
    ],
    ["Digest", [{ digest: `SHA-256=${base64("sha256")}` }], [SHA256, "Digest"]],
    [
      "Digest among others by HEAD",
      [{ digest: `adler32=03da0195,md5=${base64("md5")}` }, { method: "HEAD" }],
      [MD5, "Digest"],
    ],
    ["Content-MD5", [{ "content-md5": base64("md5") }], [MD5, "Content-MD5"]],
    ["the URL of a blob", [{}, { url: BLOB }], [SHA256, "the URL"]],
    ["the URL of a blob, of a range", [{}, { url: BLOB, statusCode: 206 }], [SHA256, "the URL"]],
    [
      "the URL of a blob, escaped, behind a prefix",
      [{}, { url: new URL(`https://hub.test/mirror/v2/a/blobs/sha256%3A${hex("sha256")}?x=1`) }],
      [SHA256, "the URL"],
    ],
    [
      "the digest of a manifest",
      [{ "docker-content-digest": SHA256 }, { url: MANIFEST }],
      [SHA256, "Docker-Content-Digest"],
    ],
    [
      "the digest of a manifest of OCI's first version",
      [
        {
          "docker-content-digest": SHA256,
          "content-type": "application/vnd.oci.image.manifest.v1+json",
        },
        { url: MANIFEST },
      ],
      [SHA256, "Docker-Content-Digest"],
    ],
    ["a registry's ETag", [{ etag: `"${SHA256}"` }, { url: MANIFEST }], [SHA256, "ETag"]],
    [
      "S3's checksum",
      [{ "x-amz-checksum-sha256": base64("sha256"), "x-amz-checksum-type": "FULL_OBJECT" }],
      [SHA256, "x-amz-checksum-sha256"],
    ],
    [
      "S3's checksum by HEAD",
      [{ "x-amz-checksum-crc32": CRC_BASE64 }, { method: "HEAD" }],
      [`crc32:${CRC}`, "x-amz-checksum-crc32"],
    ],
    ["Google's hash", [GOOGLE], [MD5, "x-goog-hash"]],
    ["Google's hash, of a range", [GOOGLE, { statusCode: 206 }], [MD5, "x-goog-hash"]],
    ["a hub's ETag on a redirect", [{}, { redirects: [{}, HUB] }], [SHA256, "X-Linked-ETag"]],
    ["a hub's ETag in the answer", [HUB], [SHA256, "X-Linked-ETag"]],
    [
      "the digest of nothing where there is nothing",
      [{ "content-md5": base64("md5", NOTHING) }, { contentLength: 0 }],
      [`md5:${hex("md5", NOTHING)}`, "Content-MD5"],
    ],
  ])("finds %s", (_what, given, [digest, source]) => {
    expect(announced(...given)).toEqual([[digest, source]]);
  });

  it.each<[string, Parameters<typeof answerOf>]>([
    [
      "Content-Digest of a range",
      [{ "content-digest": `sha-256=:${base64("sha256")}:` }, { statusCode: 206 }],
    ],
    [
      "Content-Digest by HEAD",
      [{ "content-digest": `sha-256=:${base64("sha256")}:` }, { method: "HEAD" }],
    ],
    ["Digest of a range", [{ digest: `sha-256=${base64("sha256")}` }, { statusCode: 206 }]],
    [
      "Digest of encoded content",
      [{ digest: `sha-256=${base64("sha256")}`, "content-encoding": "gzip" }],
    ],
    ["Digest before encoding", [{ digest: `id-sha-256=${base64("sha256")}` }]],
    ["Content-MD5 of a range", [{ "content-md5": base64("md5") }, { statusCode: 206 }]],
    [
      "Content-MD5 of encoded content",
      [{ "content-md5": base64("md5"), "content-encoding": "br" }],
    ],
    ["Content-MD5 in hex", [{ "content-md5": hex("md5") }]],
    [
      "the digest of nothing by HEAD",
      [{ digest: `sha-256=${base64("sha256", NOTHING)}` }, { method: "HEAD" }],
    ],
    [
      "the digest of nothing, length unknown",
      [{ "content-md5": base64("md5", NOTHING) }, { contentLength: undefined }],
    ],
    [
      "what a proxy has transformed",
      [{ "repr-digest": `sha-256=:${base64("sha256")}:` }, { statusCode: 203 }],
    ],
    [
      "what is on a redirect",
      [
        {},
        {
          redirects: [
            {
              "repr-digest": `sha-256=:${base64("sha256")}:`,
              digest: `sha-256=${base64("sha256")}`,
            },
          ],
        },
      ],
    ],
    ["a registry's header elsewhere", [{ "docker-content-digest": SHA256, etag: `"${SHA256}"` }]],
    ["a registry's weak ETag", [{ etag: `W/"${SHA256}"` }, { url: MANIFEST }]],
    [
      "the digest of a signed manifest",
      [
        {
          "docker-content-digest": SHA256,
          "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
        },
        { url: MANIFEST },
      ],
    ],
    ["a URL that goes on", [{}, { url: new URL(`${BLOB.href}/more`) }]],
    ["a URL whose digest is too short", [{}, { url: new URL(BLOB.href.slice(0, -1)) }]],
    ["an upload's URL", [{}, { url: new URL("https://registry.test/v2/a/blobs/uploads/x") }]],
    ["S3's checksum of parts", [{ "x-amz-checksum-sha256": `${base64("sha256")}-3` }]],
    [
      "S3's checksum of parts, named so",
      [{ "x-amz-checksum-sha256": base64("sha256"), "x-amz-checksum-type": "COMPOSITE" }],
    ],
    [
      "S3's checksum of a range",
      [{ "x-amz-checksum-sha256": base64("sha256") }, { statusCode: 206 }],
    ],
    [
      "S3's CRC-32C and CRC-64",
      [{ "x-amz-checksum-crc32c": CRC_BASE64, "x-amz-checksum-crc64nvme": "AAAAAAAAAAA=" }],
    ],
    ["an MD5 that an ETag may be", [{ etag: `"${hex("md5")}"` }]],
    [
      "Google's hash of what is unpacked on the way",
      [{ ...GOOGLE, "x-goog-stored-content-encoding": "gzip" }],
    ],
    ["Google's hash of another length", [{ ...GOOGLE, "x-goog-stored-content-length": "7" }]],
    ["Google's CRC-32C", [{ ...GOOGLE, "x-goog-hash": "crc32c=n03x6A==" }]],
    ["a hub's ETag of a small file", [{ ...HUB, "x-linked-etag": `"${hex("sha1")}"` }]],
    ["a hub's ETag with another size", [{ ...HUB, "x-linked-size": "7" }]],
    ["a hub's ETag without a size", [{ "x-linked-etag": `"${hex("sha256")}"` }]],
    [
      "two values that differ",
      [
        {
          "repr-digest": `sha-256=:${base64("sha256")}:`,
          digest: `sha-256=${base64("sha256", OTHER)}`,
        },
      ],
    ],
    ["base64 that is none", [{ "repr-digest": "sha-256=:not base64:, sha-512=::, md5=:====:" }]],
    ["a dictionary without colons", [{ "repr-digest": `sha-256=${base64("sha256")}` }]],
    ["an error's", [{ "content-md5": base64("md5") }, { statusCode: 404 }]],
  ])("does not believe %s", (_what, given) => {
    expect(announced(...given)).toEqual([]);
  });

  it("puts the strongest first, and takes two that agree for one", () => {
    const header = {
      "content-md5": base64("md5"),
      digest: `md5=${base64("md5")},sha-256=${base64("sha256")}`,
      "x-amz-checksum-crc32": CRC_BASE64,
    };
    expect(announced(header).map(([digest]) => digest)).toEqual([SHA256, MD5, `crc32:${CRC}`]);
  });

  it("believes the URL before a header that says otherwise", () => {
    const header = { "docker-content-digest": `sha256:${hex("sha256", OTHER)}` };
    expect(announced(header, { url: BLOB })).toEqual([[SHA256, "the URL"]]);
  });

  it("makes something of any header whatever, or nothing, but never fails", () => {
    const value = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom(...'=:,;"shamd-256W/A+'.split("")) }),
    );
    const names = [
      "repr-digest",
      "content-digest",
      "digest",
      "content-md5",
      "docker-content-digest",
      "etag",
      "x-amz-checksum-sha256",
      "x-amz-checksum-crc32",
      "x-goog-hash",
      "x-linked-etag",
    ];
    fc.assert(
      fc.property(fc.constantFrom(...names), value, (name, text) => {
        for (const { digest } of announcedDigests(
          answerOf({ ...GOOGLE, ...HUB, [name]: text }, { url: MANIFEST }),
        ))
          expect(digest).toMatch(
            /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}|crc32:\d{1,10})$/,
          );
      }),
    );
  });
});

describe("digestRequestHeader", () => {
  const fields = (url: string, header: Record<string, string> = {}): string[] =>
    Object.keys(digestRequestHeader({ url: new URL(url), header }));

  it("asks S3 only where no signature would be broken", () => {
    expect(fields("https://bucket.s3.test/key")).toContain("x-amz-checksum-mode");
    for (const url of [
      "https://bucket.s3.test/key?X-Amz-Signature=abc&X-Amz-SignedHeaders=host",
      "https://bucket.s3.test/key?AWSAccessKeyId=a&Signature=b&Expires=1",
    ])
      expect(fields(url)).toEqual(["want-repr-digest"]);
    const signed = { authorization: "AWS4-HMAC-SHA256 Credential=…" };
    expect(fields("https://bucket.s3.test/key", signed)).toEqual(["want-repr-digest"]);
  });
});

describe("Origin", () => {
  it("asks for digests by HEAD, and only by HEAD", async () => {
    const behaviour = { content: CONTENT, head: false };
    await using fixture = await openOriginFixture({ files: { "/file": behaviour } });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    await fixture.origin.stat(request);
    expect(
      fixture.server.requests.map(({ method, header }) => [
        method,
        header["want-repr-digest"],
        header["x-amz-checksum-mode"],
      ]),
    ).toEqual([
      ["HEAD", "sha-256=10, sha-512=5", "ENABLED"],
      ["GET", undefined, undefined],
    ]);
  });

  it("leaves a request's own wishes alone", async () => {
    await using fixture = await openOriginFixture({ files: { "/file": { content: CONTENT } } });
    const header = { "Want-Repr-Digest": "sha-512=10" };
    await fixture.origin.stat({ url: `${fixture.server.url}/file`, header });
    expect(fixture.server.requests[0]?.header["want-repr-digest"]).toBe("sha-512=10");
  });

  it("says what a file's digest is by HEAD, by GET of a byte, and of a whole body, but not of a range", async () => {
    const header = { "repr-digest": `sha-256=:${base64("sha256")}:` };
    await using fixture = await openOriginFixture({
      files: {
        "/file": { content: CONTENT, header },
        "/no-head": { content: CONTENT, header, head: false },
      },
    });
    const request = { url: `${fixture.server.url}/file`, header: {} };
    const expected = [{ digest: SHA256, source: "Repr-Digest" }];
    const stat = await fixture.origin.stat(request);
    expect(stat.digests).toEqual(expected);
    const byGet = await fixture.origin.stat({ ...request, url: `${fixture.server.url}/no-head` });
    expect(byGet.digests).toEqual(expected);
    await using whole = await fixture.origin.readAll(request);
    expect(whole.stat.digests).toEqual(expected);
    await using part = await fixture.origin.readRange(request, { offset: 1, length: 2 }, stat);
    expect(part.stat.digests).toEqual([]);
  });

  it("remembers what a redirect said of the file, and the URL that was asked for", async () => {
    await using fixture = await openOriginFixture();
    const { server, origin } = fixture;
    server.set("/resolve", { redirectTo: "/cdn", header: HUB });
    server.set(`/v2/app/blobs/${SHA256}`, { redirectTo: "/cdn" });
    server.set("/cdn", { content: CONTENT, etag: '"x"' });
    const stat = await origin.stat({ url: `${server.url}/resolve`, header: {} });
    expect(stat.digests).toEqual([{ digest: SHA256, source: "X-Linked-ETag" }]);
    const blob = await origin.stat({ url: `${server.url}/v2/app/blobs/${SHA256}`, header: {} });
    expect(blob.digests).toEqual([{ digest: SHA256, source: "the URL" }]);
  });
});
