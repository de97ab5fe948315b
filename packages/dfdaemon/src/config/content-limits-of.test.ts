import { join } from "node:path";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { contentLimitsOf } from "./content-limits-of.ts";
import { loadConfig } from "./load-config.ts";

const GIB = 1024 ** 3;

async function limitsOf(env: Record<string, string>, memoryLength = 16 * GIB) {
  const { config } = await loadConfig({ path: join(tmpdir(), "no-such-file"), env });
  return contentLimitsOf(config, memoryLength);
}

describe("contentLimitsOf", () => {
  it("has no rates by default, nor with Dragonfly's, which no machine reaches", async () => {
    const none = { uploadRate: Infinity, downloadRate: Infinity, originRate: Infinity };
    expect(await limitsOf({})).toMatchObject(none);
    expect(await limitsOf({ DFDAEMON_UPLOAD_BANDWIDTHLIMIT: "50GB" })).toMatchObject(none);
  });

  it("takes the rates that are given, each for its own", async () => {
    const env = {
      DFDAEMON_UPLOAD_BANDWIDTHLIMIT: "10MB",
      DFDAEMON_DOWNLOAD_BANDWIDTHLIMIT: "64KiB",
      DFDAEMON_DOWNLOAD_BACKTOSOURCEBANDWIDTHLIMIT: "49GB",
    };
    expect(await limitsOf(env)).toMatchObject({
      uploadRate: 10_000_000,
      downloadRate: 65_536,
      originRate: 49e9,
    });
  });

  it("refuses a rate at which every piece would be given up as stalled", async () => {
    await expect(limitsOf({ DFDAEMON_DOWNLOAD_BANDWIDTHLIMIT: "65535" })).rejects.toThrow(
      /download\.bandwidthLimit.*at least 65536 bytes/s,
    );
  });

  it.each([
    ["a small machine", 1 * GIB, 256 * 1024 ** 2],
    ["a usual one", 4 * GIB, 512 * 1024 ** 2],
    ["a large one", 512 * GIB, 1 * GIB],
  ])("takes an eighth of the memory of %s, within bounds", async (_, memoryLength, memoryLimit) => {
    expect(await limitsOf({}, memoryLength)).toMatchObject({ memoryLimit });
  });

  it("takes what is given, and not less than 64 MiB", async () => {
    expect(await limitsOf({ DFDAEMON_DATAPLANE_MEMORYLIMIT: "3GiB" })).toMatchObject({
      memoryLimit: 3 * GIB,
    });
    await expect(limitsOf({ DFDAEMON_DATAPLANE_MEMORYLIMIT: "60MiB" })).rejects.toThrow(
      /dataPlane\.memoryLimit/,
    );
  });
});
