import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalUrl } from "./canonical-url.ts";
import { DEFAULT_FILTERED_QUERY_PARAMS } from "./default-filtered-query-params.ts";
import { computeTaskId, type TaskIdentity } from "./task-id.ts";
import vectors from "./vectors/ids.json" with { type: "json" };

/** From the unit tests of dragonflyoss/client 1.5.10, and more made by the same algorithm. */
const taskIds: readonly (Partial<TaskIdentity> & { readonly id: string })[] = vectors.taskIds;

const HEX = "b2c366cce7e68013d5441c6326d5a3e1b12aeb5ed58564d0fd3fa089bc29cb6e";
const registry = "https://registry.example.com/v2/library/ubuntu";

describe("computeTaskId", () => {
  it.each(taskIds)("gives $id as Dragonfly does", ({ id, ...identity }) => {
    expect(computeTaskId({ ...identity, url: identity.url ?? "" })).toBe(id);
  });

  it("takes an empty tag and application for absent ones", () => {
    const url = "https://example.com/a";
    expect(computeTaskId({ url, tag: "", application: "", revision: "" })).toBe(
      computeTaskId({ url }),
    );
  });

  it("gives the same task for two presigned URLs of one object", () => {
    const id = (query: string): string =>
      computeTaskId({
        url: `https://bucket.example.com/model.bin?versionId=3&${query}`,
        filteredQueryParams: DEFAULT_FILTERED_QUERY_PARAMS,
      });
    expect(id("X-Amz-Signature=1&X-Amz-Date=20260101")).toBe(id("X-Amz-Signature=2"));
    expect(id("versionId=4")).not.toBe(id("X-Amz-Signature=2"));
  });

  it("depends on every part of the identity", () => {
    const base: TaskIdentity = { url: "https://example.com/a?b=1", tag: "t", application: "u" };
    const ids = [
      base,
      { ...base, url: "https://example.com/b" },
      { ...base, tag: "x" },
      { ...base, application: "x" },
      { ...base, revision: "x" },
      { ...base, pieceLength: 4_194_304 },
      { ...base, filteredQueryParams: ["b"] },
      { ...base, contentForCalculatingTaskId: "x" },
    ].map((identity) => computeTaskId(identity));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each([
    `${registry}/blobs/sha256:${HEX}`,
    `${registry}/blobs/sha256:${HEX}?ns=docker.io`,
    `http://localhost:5000/v2/a/b/c/blobs/sha256:${HEX}`,
    `${registry}/manifests/sha256:${HEX}`,
    `${registry}/blobs/other/blobs/sha256:${HEX}`,
  ])("takes the digest out of %s when asked to", (url) => {
    expect(computeTaskId({ url, enableTaskIdBasedBlobDigest: true })).toBe(HEX);
    expect(computeTaskId({ url })).not.toBe(HEX);
  });

  it.each([
    `${registry}/manifests/latest`,
    `${registry}/manifests/md5:8a04994a666b4e4b20a2fd9e5a44f44c`,
    "http://registry.example.com/blobs/sha256:abc",
    "http://registry.example.com/v2/blobs/sha256:abc",
    "registry.example.com/v2/repo/blobs/sha256:abc",
    `${registry}/blobs/`,
    `${registry}/blobs/?a=1`,
    "https://example.com/file.txt",
  ])("goes by the URL for %s, which names no digest", (url) => {
    expect(computeTaskId({ url, enableTaskIdBasedBlobDigest: true })).toBe(computeTaskId({ url }));
  });

  it.each(["sha256:abc", "invalid-digest", "md5:8a04994a666b4e4b20a2fd9e5a44f44c"])(
    "refuses a blob that is named %s",
    (reference) => {
      const url = `${registry}/blobs/${reference}`;
      expect(() => computeTaskId({ url, enableTaskIdBasedBlobDigest: true })).toThrow(
        expect.objectContaining({ code: "ERR_REQUEST" }),
      );
    },
  );

  it("reads a hostile URL in no time", () => {
    const url = `x://${"/v2/".repeat(20_000)}${"/blobs/".repeat(20_000)}?`;
    expect(computeTaskId({ url, enableTaskIdBasedBlobDigest: false })).toHaveLength(64);
    expect(() => computeTaskId({ url, enableTaskIdBasedBlobDigest: true })).toThrow(
      /Cannot read digest/,
    );
  });

  it("is the hash of the canonical text and the fields in Dragonfly's order", () => {
    fc.assert(
      fc.property(
        fc.webUrl({ withQueryParameters: true, withFragments: true }),
        fc.string({ unit: "binary" }),
        fc.string(),
        fc.option(fc.integer({ min: 1 }), { nil: undefined }),
        fc.array(fc.string(), { maxLength: 3 }),
        (url, tag, application, pieceLength, filteredQueryParams) => {
          const text = `${canonicalUrl(url, filteredQueryParams)}${tag}${application}${pieceLength ?? ""}STANDARD`;
          expect(computeTaskId({ url, tag, application, pieceLength, filteredQueryParams })).toBe(
            createHash("sha256").update(text).digest("hex"),
          );
        },
      ),
    );
  });
});
