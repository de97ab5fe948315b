import type { TaskFacts } from "@damselfly/storage";
import { describe, expect, it } from "vitest";
import { namedVersion, uncheckedVersion } from "./file-version.ts";
import { sourceDigestOf } from "./is-same-source.ts";

const FACTS: TaskFacts = {
  taskId: "a".repeat(64),
  url: "https://origin.test/model.bin?X-Amz-Signature=1",
  contentLength: 1,
  pieceLength: 1,
  contentVersion: "v1",
  etag: '"1"',
  lastModified: "",
  responseHeader: {},
  credentialsDigest: "",
  createdAtMs: 1,
};
const digestOf = (changes: Partial<TaskFacts>): string => sourceDigestOf({ ...FACTS, ...changes });

describe("sourceDigestOf", () => {
  it("is the same for two queries of one path, whose difference callers say does not count", () => {
    expect(digestOf({})).toMatch(/^[0-9a-f]{64}$/);
    expect(digestOf({ url: "https://origin.test/model.bin?X-Amz-Signature=2" })).toBe(digestOf({}));
  });

  it.each([
    "https://other.test/model.bin?X-Amz-Signature=1",
    "https://origin.test/model.bin/?X-Amz-Signature=1",
    "http://origin.test/model.bin",
  ])("is another one for %s", (url) => {
    expect(digestOf({ url })).not.toBe(digestOf({}));
  });

  it("is empty where a caller has chosen the id, whoever has checked the origin", () => {
    expect(digestOf({ contentVersion: namedVersion("v1") })).toBe("");
    expect(digestOf({ contentVersion: uncheckedVersion(namedVersion("v1")) })).toBe("");
    expect(digestOf({ contentVersion: uncheckedVersion("v1") })).toBe(digestOf({}));
  });
});
