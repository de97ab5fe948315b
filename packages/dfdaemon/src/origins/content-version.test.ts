import { describe, expect, it } from "vitest";
import { contentVersion } from "./content-version.ts";

describe("contentVersion", () => {
  it("has not changed its form", () => {
    // printf '10\n"a"\nTue, 01 Oct 2024 10:00:00 GMT' | sha256sum, and printf '\n\n' | sha256sum
    expect(
      contentVersion({
        contentLength: 10,
        etag: '"a"',
        lastModified: "Tue, 01 Oct 2024 10:00:00 GMT",
      }),
    ).toBe("00f3a7207c737c3617c335f3cc1428d0aabc4a1985888ca8e10c886c20bf506a");
    expect(contentVersion({ contentLength: undefined, etag: "", lastModified: "" })).toBe(
      "75a11da44c802486bc6f65640aa48a730f0f684c5c07a42ba3cd1735eb3fb070",
    );
  });
});
