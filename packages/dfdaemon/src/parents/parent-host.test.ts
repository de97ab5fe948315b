import { describe, expect, it } from "vitest";
import { ParentHosts } from "./parent-host.ts";

function open(random = 0.5) {
  const clock = { ms: 1_000_000 };
  const hosts = new ParentHosts({ now: () => clock.ms, random: () => random });
  return { hosts, host: hosts.of("a"), clock };
}

describe("ParentHost", () => {
  it("may be asked as long as nothing is known against it", () => {
    const { host } = open();
    const free = [host.asked(), host.asked()];
    expect([host.mayBeAsked, host.isSuspect, host.goodput]).toEqual([true, false, undefined]);
    for (const each of free) each();
  });

  it("rests after a failure, longer after each that follows, and is asked for one piece at a time then", () => {
    const { host, clock } = open();
    const rests = [1, 2, 3, 4, 5, 6, 7, 8].map(() => {
      host.failed("silent");
      host.failed("silent"); // of the same moment
      expect([host.mayBeAsked, host.isSuspect]).toEqual([false, true]);
      const restMs = host.restsUntilMs - clock.ms;
      clock.ms += restMs;
      expect(host.mayBeAsked).toBe(true);
      return restMs / 1000;
    });
    expect(rests).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    const free = host.asked();
    expect(host.mayBeAsked).toBe(false);
    free();
    free();
    expect(host.mayBeAsked).toBe(true);
  });

  it("does not come back with everybody else", () => {
    const [early, late] = [open(0), open(0.999)].map(({ host, clock }) => {
      host.failed("unreachable");
      return host.restsUntilMs - clock.ms;
    });
    expect(early).toBe(500);
    expect(late).toBeGreaterThan(1_490);
  });

  it("is as good as new when it has brought a piece, or after five minutes", () => {
    const { host, clock } = open();
    host.failed("silent");
    host.brought(5_000);
    expect([host.mayBeAsked, host.isSuspect, host.goodput]).toEqual([true, false, 5_000]);
    host.failed("silent");
    clock.ms += 300_000;
    expect([host.isSuspect, host.goodput]).toEqual([false, undefined]);
    host.failed("silent");
    expect(host.restsUntilMs - clock.ms).toBe(1_000);
  });

  it("may be asked at once where nobody was there and somebody answers now, not where it only fell silent", () => {
    const { hosts } = open();
    const [gone, silent] = [hosts.of("gone"), hosts.of("silent")];
    gone.failed("unreachable");
    silent.failed("silent");
    gone.answered();
    silent.answered();
    expect([gone.mayBeAsked, silent.mayBeAsked]).toEqual([true, false]);
    expect(gone.isSuspect).toBe(true);
  });

  it("is not used for a minute after it was banned, whatever else it brings", () => {
    const { host, clock } = open();
    host.ban();
    host.brought(1_000);
    expect([host.isBanned, host.mayBeAsked]).toEqual([true, false]);
    clock.ms += 60_000;
    expect([host.isBanned, host.mayBeAsked]).toEqual([false, true]);
  });
});

describe("ParentHosts", () => {
  it("remembers those asked for last", () => {
    const { hosts } = open();
    hosts.of("a").failed("silent");
    for (let number = 0; number < 9_999; number += 1) hosts.of(`${number}`);
    expect(hosts.of("a").isSuspect).toBe(true);
    for (let number = 0; number < 10_000; number += 1) hosts.of(`${number}`);
    expect(hosts.of("a").isSuspect).toBe(false);
  });
});
