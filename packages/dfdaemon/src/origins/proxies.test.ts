import { describe, expect, it } from "vitest";
import { proxyFor } from "./proxies.ts";

const settings = { httpProxy: "proxy:3128", httpsProxy: "http://secure:3129" };

describe("proxyFor", () => {
  it("takes the proxy of the URL's scheme, and adds the scheme it lacks", () => {
    expect(proxyFor(new URL("http://a/"), settings)).toBe("http://proxy:3128");
    expect(proxyFor(new URL("https://a/"), settings)).toBe("http://secure:3129");
    expect(
      proxyFor(new URL("https://a/"), { httpProxy: "proxy:3128", httpsProxy: "" }),
    ).toBeUndefined();
  });

  it.each([
    ["*", "http://anything/"],
    ["example.com", "http://example.com/"],
    ["example.com", "http://sub.example.com:8080/"],
    [".example.com", "http://sub.EXAMPLE.com/"],
    ["*.example.com", "http://sub.example.com/"],
    ["a, example.com:8080", "http://example.com:8080/"],
    ["example.com:443", "https://example.com/"],
    ["10.0.0.1", "http://10.0.0.1:9000/"],
    ["10.0.0.0/8", "http://10.9.8.7/"],
    ["::1", "http://[::1]:80/"],
    ["[::1]:8080", "http://[::1]:8080/"],
    ["fd00::/8", "http://[fd12::1]/"],
  ])("with NO_PROXY=%s goes straight to %s", (noProxy, url) => {
    expect(proxyFor(new URL(url), { ...settings, noProxy })).toBeUndefined();
  });

  it.each([
    ["", "http://example.com/"],
    ["example.com", "http://badexample.com/"],
    ["example.com:8080", "http://example.com/"],
    ["10.0.0.0/8", "http://11.0.0.1/"],
    ["10.0.0.0/99", "http://10.0.0.1/"],
    ["10.0.0.0/8", "http://[fd12::1]/"],
    ["0.0.0.1", "http://10.0.0.1/"],
  ])("with NO_PROXY=%s does not go straight to %s", (noProxy, url) => {
    expect(proxyFor(new URL(url), { ...settings, noProxy })).toBe("http://proxy:3128");
  });
});
