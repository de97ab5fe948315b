import { describe, expect, it } from "vitest";
import { canTellVersionsApart, isSameVersion } from "./validators.ts";

const DATE = "Tue, 01 Oct 2024 10:00:00 GMT";
const SECOND_LATER = "Tue, 01 Oct 2024 10:00:01 GMT";

describe("canTellVersionsApart", () => {
  it.each([
    ["a strong ETag", { etag: '"a"', lastModified: "", date: "" }, true],
    ["a strong ETag and a fresh date", { etag: '"a"', lastModified: DATE, date: DATE }, true],
    ["an empty strong ETag", { etag: '""', lastModified: "", date: "" }, true],
    ["a weak ETag", { etag: 'W/"a"', lastModified: "", date: DATE }, false],
    ["a date a second old", { etag: "", lastModified: DATE, date: SECOND_LATER }, true],
    [
      "a weak ETag and such a date",
      { etag: 'W/"a"', lastModified: DATE, date: SECOND_LATER },
      true,
    ],
    ["a date of this very second", { etag: "", lastModified: DATE, date: DATE }, false],
    ["a date to come", { etag: "", lastModified: SECOND_LATER, date: DATE }, false],
    ["a date, and nothing to compare it with", { etag: "", lastModified: DATE, date: "" }, false],
    ["what is no date", { etag: "", lastModified: "yesterday", date: DATE }, false],
    ["nothing", { etag: "", lastModified: "", date: DATE }, false],
  ])("by %s: %o -> %s", (_what, validators, can) => {
    expect(canTellVersionsApart(validators)).toBe(can);
  });
});

describe("isSameVersion", () => {
  it.each([
    [
      "the same strong ETag",
      { etag: '"a"', lastModified: "" },
      { etag: '"a"', lastModified: DATE },
      true,
    ],
    [
      "another ETag",
      { etag: '"b"', lastModified: DATE },
      { etag: '"a"', lastModified: DATE },
      false,
    ],
    [
      "no ETag any more",
      { etag: "", lastModified: DATE },
      { etag: '"a"', lastModified: DATE },
      false,
    ],
    [
      "an ETag that has become weak",
      { etag: 'W/"a"', lastModified: DATE },
      { etag: '"a"', lastModified: DATE },
      false,
    ],
    ["the same date", { etag: "", lastModified: DATE }, { etag: "", lastModified: DATE }, true],
    ["no date any more", { etag: "", lastModified: "" }, { etag: "", lastModified: DATE }, false],
    [
      "the same weak ETag alone",
      { etag: 'W/"a"', lastModified: "" },
      { etag: 'W/"a"', lastModified: "" },
      false,
    ],
    ["nothing, as before", { etag: "", lastModified: "" }, { etag: "", lastModified: "" }, false],
  ])("by %s: %o after %o -> %s", (_what, answer, expected, same) => {
    expect(isSameVersion(answer, expected)).toBe(same);
  });
});
