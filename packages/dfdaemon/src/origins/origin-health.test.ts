import { describe, expect, it } from "vitest";
import { OriginError, type OriginErrorCode } from "./origin-error.ts";
import { OriginHealth, type Attempt, type HealthChange } from "./origin-health.ts";
import type { OriginRequest } from "./origin.ts";

const HOST = "http://origin.test";
const request = (path = "/file", header: Record<string, string> = {}): OriginRequest => ({
  url: HOST + path,
  header,
});
const refused = (at?: string): OriginError =>
  new OriginError("ERR_ORIGIN_UNREACHABLE", `Cannot read ${HOST}/file?sig=…: ECONNREFUSED`, {
    cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }),
    at,
  });
const answered = (statusCode: number, header: Record<string, string> = {}): OriginError =>
  new OriginError("ERR_ORIGIN_STATUS", `Cannot read: origin answered ${statusCode}`, {
    answer: { statusCode, reason: "", responseHeader: header },
  });
const error = (code: OriginErrorCode): OriginError => new OriginError(code, `Cannot read: ${code}`);

const START_DATE_MS = Date.parse("2026-01-01T00:00:00Z");

/** Health with a clock, and what it says of changes. */
class Bench {
  readonly changes: HealthChange[] = [];
  readonly health = new OriginHealth({ onChange: (change) => this.changes.push(change) });
  nowMs = 0;

  get time(): { readonly nowMs: number; readonly dateMs: number } {
    return { nowMs: this.nowMs, dateMs: START_DATE_MS + this.nowMs };
  }

  begin(asked = request()): Attempt {
    expect(this.health.mayAsk(asked, this.nowMs)).toEqual({ kind: "go" });
    return this.health.begin(asked);
  }

  /** One request that fails, as soon as it may be sent. */
  fail(failure: OriginError, asked = request()): void {
    const verdict = this.health.mayAsk(asked, this.nowMs);
    if (verdict.kind === "hold") this.nowMs = verdict.untilMs;
    this.health.failed(this.begin(asked), failure, { ...this.time, random: 0 });
  }

  succeed(asked = request()): void {
    const attempt = this.begin(asked);
    this.health.answered(attempt);
    this.health.succeeded(attempt);
  }

  holds(asked = request()): string | undefined {
    const verdict = this.health.mayAsk(asked, this.nowMs);
    return verdict.kind === "go" ? undefined : verdict.what;
  }
}

describe("OriginHealth", () => {
  it("holds back all that goes to a host that cannot be reached, and nothing else", () => {
    const bench = new Bench();
    bench.fail(refused());
    expect(bench.holds(request("/other"))).toBe(HOST);
    expect(bench.holds({ url: "http://origin.test:8080/file", header: {} })).toBeUndefined();
    expect(bench.holds({ url: "https://origin.test/file", header: {} })).toBeUndefined();
    expect(bench.holds({ url: "http://elsewhere.test/file", header: {} })).toBeUndefined();
  });

  it("never holds anybody back for a URL that is wrong, however often it is asked for", () => {
    const bench = new Bench();
    for (const code of [400, 401, 403, 404, 410, 416, 501])
      for (let count = 0; count < 100; count += 1) bench.fail(answered(code));
    expect(bench.nowMs).toBe(0);
    expect(bench.changes).toEqual([]);
  });

  it.each<[string, OriginError]>([
    ["a certificate that one user does not trust", error("ERR_ORIGIN_TLS")],
    ["a URL that is none", error("ERR_ORIGIN_URL")],
    ["redirects in circles", error("ERR_ORIGIN_REDIRECT_LOOP")],
    ["a file that changed", error("ERR_ORIGIN_CHANGED")],
    ["ranges that are not served", error("ERR_ORIGIN_NO_RANGES")],
    ["a digest that is wrong", error("ERR_ORIGIN_DIGEST")],
    ["a proxy that wants a password", answered(407)],
    [
      "a name that nobody knows",
      new OriginError("ERR_ORIGIN_UNREACHABLE", "Cannot read: ENOTFOUND", {
        cause: Object.assign(new Error("not found"), { code: "ENOTFOUND" }),
      }),
    ],
  ])("holds nobody back for %s", (_what, failure) => {
    const bench = new Bench();
    for (let count = 0; count < 20; count += 1) bench.fail(failure);
    expect(bench.nowMs).toBe(0);
  });

  it("holds back one file that is answered with errors, not the others of its host", () => {
    const bench = new Bench();
    for (let count = 0; count < 20; count += 1) bench.fail(answered(500));
    expect(bench.holds()).toBe(`this file of ${HOST}`);
    expect(bench.holds(request("/other"))).toBeUndefined();
    expect(bench.holds(request("/file", { authorization: "other" }))).toBeUndefined();
  });

  it("holds back a host whose files fail one and all, until one does not", () => {
    const bench = new Bench();
    for (const path of ["/a", "/b"]) bench.fail(answered(503), request(path));
    expect(bench.holds(request("/d"))).toBeUndefined();
    bench.fail(answered(503), request("/c"));
    expect(bench.holds(request("/d"))).toBe(HOST);
    bench.nowMs += 200;
    bench.succeed(request("/d"));
    bench.fail(answered(503), request("/e"));
    expect(bench.holds(request("/d"))).toBeUndefined();
  });

  it("keeps to a pause that is asked for, for the file and the credentials it was asked for with", () => {
    const bench = new Bench();
    bench.fail(answered(429, { "retry-after": "30" }));
    expect(bench.health.mayAsk(request(), 29_999)).toMatchObject({
      kind: "hold",
      untilMs: 30_000,
      isAskedFor: true,
      lastFailure: "Cannot read: origin answered 429",
    });
    expect(bench.health.mayAsk(request(), 30_000)).toEqual({ kind: "go" });
    for (const path of ["/a", "/b", "/c", "/d"])
      bench.fail(answered(429, { "retry-after": "3600" }), request(path, { authorization: "a" }));
    expect(bench.holds(request("/e", { authorization: "b" }))).toBeUndefined();
  });

  it("counts a body that breaks off as one, though its header came, until one is whole", () => {
    const bench = new Bench();
    const cut = (): void => {
      const verdict = bench.health.mayAsk(request(), bench.nowMs);
      if (verdict.kind === "hold") bench.nowMs = verdict.untilMs;
      const attempt = bench.begin();
      bench.health.answered(attempt);
      const time = { ...bench.time, random: 0 };
      bench.health.failed(attempt, error("ERR_ORIGIN_TRUNCATED"), time);
    };
    for (let count = 0; count < 5; count += 1) cut();
    expect(bench.nowMs).toBe(200 + 400 + 800 + 1600);
    expect(bench.changes.map(({ kind }) => kind)).toEqual(["opened"]);
    bench.nowMs += 3200;
    bench.succeed();
    expect(bench.changes.map(({ kind }) => kind)).toEqual(["opened", "closed"]);
  });

  it("lets one of eight try, and the others as soon as that is answered", () => {
    const bench = new Bench();
    bench.fail(answered(500));
    bench.nowMs += 200;
    const trial = bench.begin();
    expect(bench.health.mayAsk(request(), bench.nowMs).kind).toBe("await");
    bench.health.answered(trial);
    for (let count = 0; count < 7; count += 1) bench.begin();
  });

  it("lets another one try when the one that tried has left, or has failed otherwise", () => {
    const bench = new Bench();
    bench.fail(answered(500));
    bench.nowMs += 200;
    bench.health.left(bench.begin());
    bench.health.failed(bench.begin(), error("ERR_ORIGIN_TLS"), { ...bench.time, random: 0 });
    bench.succeed();
  });

  it.each(["fails", "answers by itself"])(
    "lets the host that a redirect led to be tried again when the one that leads there %s",
    (how) => {
      const bench = new Bench();
      const elsewhere = "http://elsewhere.test";
      bench.fail(refused(elsewhere));
      if (how === "fails") bench.fail(refused(HOST));
      else {
        bench.nowMs = 1_000;
        bench.succeed();
      }
      bench.nowMs = 60_000;
      expect(bench.holds()).toBeUndefined();
      expect(bench.holds({ url: `${elsewhere}/file`, header: {} })).toBeUndefined();
    },
  );

  it("blames the host that a redirect led to, and spares it for all who are led there", () => {
    const bench = new Bench();
    const mirror = "http://mirror.test";
    bench.fail(refused(mirror));
    // Others may be led elsewhere; this file was not.
    expect(bench.holds(request("/other"))).toBeUndefined();
    expect(bench.holds()).toBe(mirror);
    expect(bench.holds({ url: `${mirror}/file`, header: {} })).toBe(mirror);
    bench.fail(refused(mirror), request("/second"));
    expect(bench.health.report(bench.time)).toMatchObject([
      { origin: HOST, state: "closed", failureCount: 0, faultCount: 0 },
      { origin: mirror, faultCount: 2 },
    ]);
  });

  it("says when a host is given up and when it works again, once", () => {
    const bench = new Bench();
    for (let count = 0; count < 6; count += 1) bench.fail(refused());
    expect(bench.changes).toEqual([
      { kind: "opened", what: HOST, failureCount: 3, lastFailure: "ECONNREFUSED" },
    ]);
    expect(bench.health.report(bench.time)).toMatchObject([
      {
        origin: HOST,
        state: "open",
        failureCount: 6,
        askedAgainMs: bench.time.dateMs + 6400,
        lastFailure: { text: "ECONNREFUSED", atMs: bench.time.dateMs },
        requestCount: 6,
        faultCount: 6,
      },
    ]);
    bench.nowMs += 6400;
    expect(bench.health.report(bench.time)).toMatchObject([{ state: "half-open" }]);
    bench.succeed();
    expect(bench.changes.map(({ kind }) => kind)).toEqual(["opened", "closed"]);
    expect(bench.health.report(bench.time)).toMatchObject([{ state: "closed", failureCount: 0 }]);
  });

  it("takes each attempt to one end only", () => {
    const bench = new Bench();
    const attempt = bench.begin();
    bench.health.answered(attempt);
    bench.health.succeeded(attempt);
    bench.health.failed(attempt, refused(), { ...bench.time, random: 0 });
    bench.health.left(attempt);
    expect(bench.holds()).toBeUndefined();
  });

  it("remembers a bounded number of hosts and files", () => {
    const bench = new Bench();
    const time = { ...bench.time, random: 0 };
    for (let count = 0; count < 12_000; count += 1) {
      const asked = { url: `http://host-${count}.test/file`, header: {} };
      bench.health.failed(bench.health.begin(asked), answered(500), time);
    }
    expect(bench.health.report(bench.time)).toHaveLength(1000);
  });
});
