import type { TlsProbe } from "@damselfly/rpc";
import { describe, expect, it } from "vitest";
import { PeerManners, type Daemon } from "./peer-manners.ts";

const tls = { caCert: "ca", cert: "cert", key: "key" };
const HOUR_MS = 3_600_000;

function daemon(facts: Partial<Daemon> = {}): Daemon {
  return { ip: "10.0.0.9", port: 4000, hostname: "nine", ...facts };
}

/** Manners whose probes are answered from `answers`, the last one again and again. */
function open(
  answers: readonly TlsProbe["kind"][],
  options: { readonly plainPeers?: boolean; readonly tls?: typeof tls | undefined } = {},
): { manners: PeerManners; asked: Daemon[]; clock: { nowMs: number } } {
  const asked: Daemon[] = [];
  const clock = { nowMs: 0 };
  const error = new Error("because");
  const manners = new PeerManners({
    tls: "tls" in options ? options.tls : tls,
    plainPeers: options.plainPeers ?? true,
    now: () => clock.nowMs,
    probe: async (whom) => {
      const kind = answers[Math.min(asked.length, answers.length - 1)] ?? "unknown";
      asked.push(whom);
      return kind === "untrusted" || kind === "unknown" ? { kind, error } : { kind };
    },
  });
  return { manners, asked, clock };
}

describe("PeerManners", () => {
  it("asks nobody where there is no choice", async () => {
    const withoutTls = open(["trusted"], { tls: undefined });
    expect(await withoutTls.manners.of(daemon())).toBe("plain");
    const withoutPlain = open(["plain"], { plainPeers: false });
    expect(await withoutPlain.manners.of(daemon())).toBe("tls");
    expect([...withoutTls.asked, ...withoutPlain.asked]).toEqual([]);
  });

  it("speaks plain with a daemon that answers so, and asks again after a while", async () => {
    const { manners, asked, clock } = open(["plain", "plain", "trusted"]);
    expect(await manners.of(daemon())).toBe("plain");
    expect(await manners.of(daemon())).toBe("plain");
    expect(asked).toHaveLength(1);
    clock.nowMs += HOUR_MS;
    expect(await manners.of(daemon())).toBe("plain");
    clock.nowMs += HOUR_MS;
    expect(await manners.of(daemon())).toBe("tls");
    expect(asked).toHaveLength(3);
  });

  it("never again speaks plain at an address, or to a host, that has shown a certificate", async () => {
    const { manners, asked, clock } = open(["trusted", "plain"]);
    expect(await manners.of(daemon())).toBe("tls");
    clock.nowMs += 1_000 * HOUR_MS;
    expect(await manners.of(daemon())).toBe("tls");
    expect(await manners.of(daemon({ hostname: "renamed" }))).toBe("tls");
    expect(await manners.of(daemon({ ip: "10.0.0.66", port: 5000 }))).toBe("tls");
    expect(asked).toHaveLength(1);
    expect(await manners.of(daemon({ ip: "10.0.0.66", hostname: "other" }))).toBe("plain");
  });

  it("keeps to TLS with whoever speaks it badly, or not at all yet", async () => {
    const { manners } = open(["untrusted", "unknown", "plain", "unknown"]);
    expect(await manners.of(daemon())).toBe("tls");
    expect(await manners.of(daemon())).toBe("tls");
    expect(await manners.of(daemon())).toBe("plain");
  });

  it("takes a plain daemon that cannot be reached now for what it was", async () => {
    const { manners, clock } = open(["plain", "unknown"]);
    await manners.of(daemon());
    clock.nowMs += HOUR_MS;
    expect(await manners.of(daemon())).toBe("plain");
  });

  it("asks one again that was taken for plain and cannot be reached so: it may have been about to end", async () => {
    const { manners, asked } = open(["plain", "unknown", "trusted"]);
    expect(await manners.of(daemon())).toBe("plain");
    expect(await manners.whyNotPlain(daemon())).toBeUndefined();
    expect(await manners.of(daemon())).toBe("plain"); // nobody is there
    expect(await manners.of(daemon())).toBe("tls");
    expect(asked).toHaveLength(3);
  });

  it.each(["trusted", "plain"] as const)(
    "remembers ten thousand daemons that are %s, and asks the oldest again beyond that",
    async (kind) => {
      const { manners, asked } = open([kind]);
      /** Whether it has to be asked. */
      const isNews = async (name: number): Promise<boolean> => {
        const before = asked.length;
        await manners.of(daemon({ port: name, hostname: `host-${name}` }));
        return asked.length > before;
      };
      for (let name = 1; name <= 10_000; name += 1) await isNews(name);
      expect(asked).toHaveLength(10_000);
      expect([await isNews(1), await isNews(10_000)]).toEqual([false, false]);
      expect(await isNews(10_001)).toBe(true);
      expect([await isNews(2), await isNews(1)]).toEqual([false, true]);
      for (let name = 20_001; name <= 60_000; name += 1) await isNews(name);
      expect([await isNews(50_001), await isNews(50_000)]).toEqual([false, true]);
    },
  );

  it("asks once for all who want to know at the same time", async () => {
    const { manners, asked } = open(["plain"]);
    expect(await Promise.all([manners.of(daemon()), manners.of(daemon())])).toEqual([
      "plain",
      "plain",
    ]);
    expect(asked).toHaveLength(1);
  });

  it("names the setting that keeps a plain daemon out", async () => {
    const { manners } = open(["plain", "unknown"], { plainPeers: false });
    expect(await manners.whyNotPlain(daemon())).toMatch(/security\.plainPeers is false/);
    expect(await manners.whyNotPlain(daemon())).toBeUndefined();
    expect(await open(["plain"], { tls: undefined }).manners.whyNotPlain(daemon())).toBeUndefined();
    expect(await open(["plain"]).manners.whyNotPlain(daemon())).toBeUndefined();
  });

  it("says so when a daemon has laid its certificate aside", async () => {
    const { manners } = open(["trusted", "plain"]);
    await manners.of(daemon());
    expect(await manners.whyNotPlain(daemon())).toMatch(/has shown a certificate before/);
  });
});
