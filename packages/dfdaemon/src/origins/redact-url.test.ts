import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { redactUrl } from "./redact-url.ts";

describe("redactUrl", () => {
  it.each([
    [
      "http://user:pass@host:81/a/b?X-Sig=s3cret&b=2&empty#frag",
      "http://host:81/a/b?X-Sig=…&b=…&empty=…",
    ],
    ["https://host", "https://host/"],
    ["http://user:pass@ho st/x?y=1", "http://ho st/x"],
    ["nonsense", "nonsense"],
  ])("makes %s %s", (url, redacted) => {
    expect(redactUrl(url)).toBe(redacted);
  });

  it("never shows a password or a query value", () => {
    const secret = fc.stringMatching(/^[A-Z0-9]{12}$/);
    fc.assert(
      fc.property(secret, secret, fc.boolean(), (password, value, parses) => {
        const redacted = redactUrl(
          `http://u:${password}@host${parses ? "" : " "}/path?key=${value}`,
        );
        expect(redacted).not.toContain(password);
        expect(redacted).not.toContain(value);
      }),
    );
  });
});
