import { describe, expect, it } from "vitest";
import { summarise } from "./summarise.mjs";
import { assertWellFormed } from "./assert-well-formed.mjs";
import { formatSvg } from "./svg.mjs";
import { formatResults } from "./tables.mjs";

const MB = 1e6;

/** A sample of a backend that moved `rate` MB in a second. */
function sample(backend, rate, more = {}) {
  return {
    path: "loopback",
    mode: "memory",
    backend,
    round: 0,
    bulk: { bytes: rate * MB, wantedBytes: rate * MB, seconds: 1, isWhole: true },
    server: { cpuSeconds: 0.5, peakBytes: 2 ** 20 },
    client: { cpuSeconds: 1, peakBytes: 2 ** 21 },
    ...more,
  };
}

const titles = { loopback: "Loopback" };

describe("the summary of samples", () => {
  it("compares medians with those of gRPC over TLS on the same path", () => {
    const samples = [
      ...[90, 100, 500].map((rate, round) => sample("quic-auto", rate, { round })),
      ...[40, 50, 60].map((rate, round) => sample("grpc-tls", rate, { round })),
      sample("grpc-tls", 1, { path: "bad" }),
    ];
    const [quic] = summarise(samples);
    expect(quic).toMatchObject({ rate: 100, rateMin: 90, rateMax: 500, roundCount: 3 });
    expect(quic.ratios).toEqual({ "grpc-tls": 2 });
    expect(quic.cpuSecondsPerGb.server).toBe(5);
  });

  it("compares with each congestion control of TCP where both were measured", () => {
    const samples = [
      sample("quic-auto", 60),
      sample("grpc-tls", 1, { tcp: "cubic" }),
      sample("grpc-tls", 30, { tcp: "bbr" }),
    ];
    expect(summarise(samples)[0].ratios).toEqual({ "grpc-tls cubic": 60, "grpc-tls bbr": 2 });
  });

  it("keeps what failed beside what went well", () => {
    const samples = [
      sample("quic-auto", 60),
      sample("quic-auto", 0, { round: 1, bulk: undefined, failure: "did not finish" }),
    ];
    const [result] = summarise(samples);
    expect(result.rate).toBe(60);
    expect(result.failures).toEqual([{ round: 1, failure: "did not finish" }]);
    expect(formatResults([result], titles).join("\n")).toContain("1 of 2: did not finish");
  });
});

describe("the table", () => {
  it("says which transfers were cut off, and has a sign for what was not measured", () => {
    const cut = { bytes: 6 * MB, wantedBytes: 256 * 2 ** 20, seconds: 10, isWhole: false };
    const samples = [
      sample("quic-auto", 60),
      sample("grpc-tls", 1, { bulk: cut, server: undefined }),
    ];
    const lines = formatResults(summarise(samples), titles);
    const grpc = lines.find((line) => line.startsWith("  grpc-tls "));
    expect(grpc).toContain("cut off at the limit: 256 MiB were wanted");
    expect(grpc).toContain("·");
  });
});

describe("the picture", () => {
  it("is well-formed, with a bar and a readable rate for each result", () => {
    const results = summarise([sample("quic-auto", 123), sample("grpc-tls", 50)]);
    const svg = formatSvg(results, {
      titles: { loopback: 'Loopback <&> "more"' },
      caption: "2 x CPU",
      isUdp: ({ backend }) => backend === "quic-auto",
    });
    expect(() => assertWellFormed(svg)).not.toThrow();
    expect(svg.match(/<rect /g)).toHaveLength(2);
    expect(svg).toContain("123 MB/s (2.46 x grpc-tls)");
    expect(svg).toContain("Loopback &lt;&amp;&gt;");
    expect(svg).toContain("prefers-color-scheme: dark");
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("is well-formed with nothing to show", () => {
    expect(() => assertWellFormed(formatSvg([], { titles, caption: "" }))).not.toThrow();
  });
});
